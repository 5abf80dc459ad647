"""This machine, as far as it decides how long a cell takes. No torch unless there is a GPU to name."""

from __future__ import annotations

import os
import platform
from typing import Any


def hardware_name(device: str) -> dict[str, Any]:
    """System, processor and cores; with its name where a GPU does the work."""
    here = {"system": platform.system(), "processor": platform.machine(), "cores": os.cpu_count() or 1}
    if device == "cpu":
        return here
    import torch

    return {**here, "gpu": torch.cuda.get_device_name()} if torch.cuda.is_available() else here
