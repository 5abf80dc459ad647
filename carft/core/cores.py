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
    quotas = [math.inf]
    for folder in _folders(groups, own, "cpu"):
        version_1 = [*_words(folder / "cpu.cfs_quota_us"), *_words(folder / "cpu.cfs_period_us")]
        limit, *period = _words(folder / "cpu.max") or version_1 or ["max"]
        if period and limit not in ("max", "-1"):
            quotas.append(float(limit) / float(period[0]))
    return min(quotas)


def memory_limit(groups: Path = CGROUPS, own: Path = OWN) -> float:
    """Bytes of the smallest limit of memory among this process's cgroup and those above it; infinity without one."""
    folders = list(_folders(groups, own, "memory"))
    files = [
        folder / name for folder in folders for name in ("memory.max", "memory.limit_in_bytes")
    ]  # of both versions
    return min((float(word) for file in files for word in _words(file) if word != "max"), default=math.inf)


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


def _words(file: Path) -> list[str]:
    """The words of a file of a cgroup; none where it is not there."""
    try:
        return file.read_text(encoding="utf-8").split()
    except OSError:
        return []
