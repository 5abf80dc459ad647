"""When Python looks for garbage. By default that takes half of the time in which torch and Ray are imported."""

import atexit
import gc
from collections.abc import Iterator
from contextlib import contextmanager

#: New objects after which Python looks at them, such looks after which it looks at what survived them, and such looks
#: after which it looks at everything. A command makes many objects and few cycles, but a cycle can hold a large table
#: or drawing.
COMMAND_THRESHOLDS = (5_000, 20, 20)


def collect_rarely() -> None:
    """Set this process to look for garbage seldom, and not at all when it ends: its memory is returned in any case."""
    gc.set_threshold(*COMMAND_THRESHOLDS)
    atexit.register(gc.freeze)


@contextmanager
def importing() -> Iterator[None]:
    """Within the block Python does not look for garbage; what is alive at its end is never looked at again.

    For the modules that a process of a sweep imports at its start.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()
