"""CPU cores and memory that this process may use."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from pathlib import Path

CGROUPS = Path("/sys/fs/cgroup")
OWN = Path("/proc/self/cgroup")


def cores() -> int:
    """CPU cores of this process: those of its affinity, and no more than its cgroup's quota, rounded down; at least 1.

    Containers and batch systems give a quota; the cores of the machine can be many more.
    """
    own = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, math.floor(min(own, quota())))


def quota(groups: Path = CGROUPS, own: Path = OWN) -> float:
    """CPU cores of the smallest quota among this process's cgroup and those above it; infinity without one."""
    return min(map(_quota_of, _folders(groups, own, "cpu")), default=math.inf)


def memory_limit(groups: Path = CGROUPS, own: Path = OWN) -> float:
    """Bytes of the smallest limit of memory among this process's cgroup and those above it; infinity without one."""
    return min(map(_memory_of, _folders(groups, own, "memory")), default=math.inf)


def _folders(groups: Path, own: Path, controller: str) -> Iterator[Path]:
    """The folders of this process's cgroups with a controller, and those above them; a container may see a part."""
    try:
        lines = own.read_text(encoding="utf-8").splitlines()
    except OSError:
        return
    for line in lines:
        number, controllers, path = line.split(":", 2)
        if number == "0":
            base = groups
        elif controller in controllers.split(","):
            base = groups / controller
        else:
            continue
        folder = base / path.lstrip("/")
        yield from (one for one in (folder, *folder.parents) if one == base or base in one.parents)


def _quota_of(folder: Path) -> float:
    """CPU cores of a cgroup's quota, of version 2 or 1; infinity without one."""
    try:
        if (file := folder / "cpu.max").is_file():
            given, period = file.read_text(encoding="utf-8").split()
        else:
            given, period = (
                (folder / f"cpu.cfs_{name}_us").read_text(encoding="utf-8").strip() for name in ("quota", "period")
            )
        return float(given) / float(period) if given not in ("max", "-1") else math.inf
    except (OSError, ValueError):
        return math.inf


def _memory_of(folder: Path) -> float:
    """Bytes of a cgroup's limit of memory, of version 2 or 1; infinity without one."""
    for name in ("memory.max", "memory.limit_in_bytes"):
        try:
            return float((folder / name).read_text(encoding="utf-8"))
        except (OSError, ValueError):  # no such file, or the word max
            continue
    return math.inf
