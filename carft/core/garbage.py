"""When Python looks for garbage. Its default is often, which is slow while torch and Ray are imported."""

import atexit
import gc
from importlib import import_module

#: Thresholds of the three generations, as ``gc.set_threshold`` takes them. A command makes many objects and few
#: cycles, but a cycle can hold a large table or drawing.
COMMAND_THRESHOLDS = (5_000, 20, 20)


def collect_rarely() -> None:
    """Have Python look for garbage rarely in this process, and not when it ends, when all memory is freed anyway."""
    gc.set_threshold(*COMMAND_THRESHOLDS)
    atexit.register(gc.freeze)


def import_without_collecting(module: str) -> None:
    """Import a module by name without looking for garbage. What is alive then is not looked at later either."""
    gc.disable()
    try:
        import_module(module)
    finally:
        gc.freeze()
        gc.enable()
