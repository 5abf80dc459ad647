"""Memory that a process frees stays with it."""

import sys
from subprocess import run

import pytest

COUNTED = """
import resource

import torch

from carft.core.allocator import keep_freed_memory
from carft.training.execution import Execution

{before}
faults = []
for _ in range(4):
    torch.ones(16_000_000)
    faults.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt)
print(faults[-1] - faults[0])
"""


@pytest.mark.full
@pytest.mark.skipif(sys.platform != "linux", reason="glibc is the C library of Linux")
def test_a_training_process_does_not_fetch_the_same_memory_again() -> None:
    """64 MB are 16,000 pages, each of which the system would hand out anew."""
    prepared = _pages(before='Execution(device="cpu").prepare()')
    assert prepared < 1_000 < 3 * 10_000 < _pages(before="")


def _pages(before: str) -> int:
    """Pages that the system hands out for three tensors of 64 MB, one after another."""
    code = COUNTED.format(before=before)
    return int(run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout)
