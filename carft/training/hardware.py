"""The hardware that a cell runs on. hardware_name imports torch only to name a GPU."""

from __future__ import annotations

import os
import platform
from functools import cache
from pathlib import Path
from typing import Any

CPU_INFO = Path("/proc/cpuinfo")


def hardware_name(device: str) -> dict[str, Any]:
    """System, processor and cores of this machine, and the GPU's name when the device is cuda."""
    here = {"system": platform.system(), "processor": platform.machine(), "cores": os.cpu_count() or 1}
    if device == "cpu":
        return here
    import torch

    return {**here, "gpu": torch.cuda.get_device_name()} if torch.cuda.is_available() else here


@cache
def cpu_facts() -> dict[str, str]:
    """Model of the CPU, where Linux tells it, and the instructions that torch uses: both decide the last bits."""
    import torch

    lines = CPU_INFO.read_text().splitlines() if CPU_INFO.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return {"model": names[0] if names else "unknown", "instructions": torch.backends.cpu.get_cpu_capability()}


def processor_facts(device: str) -> dict[str, str]:
    """Model of the GPU, or model and instructions of the CPU: what decides the last bits of a forward pass."""
    return cpu_facts() if device == "cpu" else {"gpu": hardware_name(device).get("gpu", "unknown")}
