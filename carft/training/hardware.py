"""The hardware that a cell runs on. Imports torch only to name a GPU."""

from __future__ import annotations

import os
import platform
from typing import Any


def hardware_name(device: str) -> dict[str, Any]:
    """System, processor and cores of this machine, and the GPU's name when the device is cuda."""
    here = {"system": platform.system(), "processor": platform.machine(), "cores": os.cpu_count() or 1}
    if device == "cpu":
        return here
    import torch

    return {**here, "gpu": torch.cuda.get_device_name()} if torch.cuda.is_available() else here
