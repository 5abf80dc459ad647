"""Checks of what a sweep works with: results, cores, room on disks."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from carft.core.cores import cores
from carft.core.errors import UserError
from carft.store.mirror import MirroredStore
from sweeps.doctor.check import Check, Subject
from sweeps.ray_backend.preflight import require_space

GIB = 2**30


def enough_cores(subject: Subject) -> Check:
    """Check that there is a core for each cell, and cores that decode for each GPU, by the plan's estimate."""
    request, here = subject.request, cores()
    processes = request.gpus * request.cells_per_gpu
    if here < processes:
        raise UserError(
            f"There are {here} CPU cores for {processes} cells at a time, of which each needs one.",
            f"Use a machine with more cores, or --gpus {max(1, here // request.cells_per_gpu)}.",
        )
    if not request.gpus:
        return Check(f"{here} CPU cores")
    wanted = subject.plan.needs.cores_per_device * request.gpus
    slow = "GPUs will wait for images: use a machine with more cores for each GPU."
    return Check(f"{here} CPU cores, about {wanted} wanted", slow if here < wanted else "")


def object_store(subject: Subject) -> Check:
    """Check that the object store of the results can be read and written."""
    if subject.unusable is not None:
        raise subject.unusable
    store = subject.protocol.store
    found = isinstance(store, MirroredStore)
    return Check(f"'{store.name}' can be read and written" if found else "none: results go into a folder")


def results_disk(subject: Subject) -> Check:
    """Check that the disk of the results can be written and has room."""
    root, plan = subject.protocol.store.root, subject.plan
    wanted = plan.forecast.bytes + plan.needs.checkpoint_bytes
    require_space(root, wanted)
    return Check(f"{_room(root)}; {wanted / GIB:.2f} GiB wanted")


def cache_disk(subject: Subject) -> Check:
    """Check that the disk of the feature cache has room for it."""
    if (cache := subject.request.execution.cache) is None:
        return Check("no cache of features")
    held = sum(path.stat().st_size for path in cache.folder.glob("*.npy"))
    room = shutil.disk_usage(_existing(cache.folder)).free + held
    small = f"The cache may take {cache.limit / GIB:.0f} GiB: give --feature-cache FOLDER or --feature-cache-size GIB."
    return Check(_room(cache.folder), small if room < cache.limit else "")


def _room(folder: Path) -> str:
    """The free space of the disk of a folder, in words. Raises ``UserError`` when nothing can be written there."""
    there = _existing(folder)
    if not os.access(there, os.W_OK):
        raise UserError(f"'{there}' cannot be written.", "Name another folder.")
    return f"'{there}' has {shutil.disk_usage(there).free / GIB:.1f} GiB free"


def _existing(folder: Path) -> Path:
    return next(place for place in (folder.absolute(), *folder.absolute().parents) if place.is_dir())
