"""What a machine has: CPU cores and memory that this process may use, and GPU cards whose peak speed is known."""

import math
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from carft.core.errors import unknown

CGROUPS = Path("/sys/fs/cgroup")
OWN = Path("/proc/self/cgroup")


def cores() -> int:
    """CPU cores of this process: those of its affinity, and no more than its cgroup's quota, rounded down; at least 1.

    Containers and batch systems give a quota; the cores of the machine can be many more.
    """
    return max(1, math.floor(min(len(os.sched_getaffinity(0)), cpu_quota())))


def cpu_quota(groups: Path = CGROUPS, own: Path = OWN) -> float:
    """CPU cores of the smallest quota among this process's cgroup and those above it; infinity without one."""
    quotas = [math.inf]
    for limit, *period in _limits("cpu.max", groups, own):
        quotas.append(float(limit) / float(period[0]))
    return min(quotas)


def memory_limit(groups: Path = CGROUPS, own: Path = OWN) -> float:
    """Bytes of the smallest limit of memory among this process's cgroup and those above it; infinity without one."""
    return min([math.inf, *(float(limit) for limit, *_ in _limits("memory.max", groups, own))])


def _limits(file: str, groups: Path, own: Path) -> Iterator[list[str]]:
    """Words of a file of this process's cgroup of version 2, and of those above it, where it holds a limit."""
    lines: list[str] = []
    with suppress(OSError):
        lines = own.read_text(encoding="utf-8").splitlines()
    for line in lines:
        number, _, path = line.split(":", 2)
        folder = groups / path.lstrip("/")
        for above in (folder, *folder.parents):
            words: list[str] = []
            if number == "0" and above.is_relative_to(groups):  # a container may see a part
                with suppress(OSError):
                    words = (above / file).read_text(encoding="utf-8").split()
            if words and words[0] != "max":
                yield words


#: bytes per second of 16 lanes of PCIe in one direction, of generation 4 and 5
PCIE_4, PCIE_5 = 32e9, 64e9


@dataclass(frozen=True)
class GpuCard:
    """Dense peak of a card in floating-point operations per second, by precision, from its maker's data sheet."""

    bfloat16: float
    """Of tensor cores, without sparsity; that of float16 is the same."""
    tf32: float
    float32: float
    source: str
    link: float = PCIE_4
    """Bytes per second that it sends to the other cards of a node: by NVLink where it has a switch, else by PCIe."""

    def peak(self, precision: str) -> float:
        """The peak at a precision of an execution."""
        return {"float32": self.float32, "tf32": self.tf32}.get(precision, self.bfloat16)


#: part of the name that CUDA gives -> the card; a longer name comes before one that it contains
CARDS: Mapping[str, GpuCard] = {
    "H200": GpuCard(989e12, 494e12, 67e12, "NVIDIA H200 data sheet, SXM", 450e9),
    "H100 PCIe": GpuCard(756e12, 378e12, 51e12, "NVIDIA H100 data sheet, PCIe", PCIE_5),
    "H100": GpuCard(989e12, 494e12, 67e12, "NVIDIA H100 data sheet, SXM", 450e9),
    "A100": GpuCard(312e12, 156e12, 19.5e12, "NVIDIA A100 data sheet", 300e9),
    "L40S": GpuCard(362e12, 183e12, 91.6e12, "NVIDIA L40S data sheet"),
    "L4": GpuCard(121e12, 60e12, 30.3e12, "NVIDIA L4 data sheet"),
    "A10G": GpuCard(70e12, 35e12, 31.2e12, "NVIDIA A10G data sheet"),
    "RTX 4090": GpuCard(165e12, 82.6e12, 82.6e12, "NVIDIA Ada architecture white paper"),
}


def gpu_card(gpu: str) -> GpuCard | None:
    """Return the card that a name of CUDA such as ``NVIDIA H100 80GB HBM3`` stands for; None if it is not known."""
    words = f" {gpu.replace('-', ' ').lower()} "
    for name, card in CARDS.items():
        if f" {name.lower()} " in words:
            return card
    return None


def slowest_card(gpus: Iterable[str]) -> str:
    """The name whose card has the least peak in bfloat16; empty where a card is not known, and without any."""
    peaks: dict[str, float] = {}
    for gpu in gpus:
        card = gpu_card(gpu)
        if card is None:
            return ""
        peaks[gpu] = card.bfloat16
    return min(peaks, key=peaks.__getitem__, default="")


def require_gpu_card(gpu: str) -> None:
    """Raise ``UserError`` with near misses for a card that is not known."""
    if gpu_card(gpu) is None:
        raise unknown("GPU card", gpu, CARDS)
