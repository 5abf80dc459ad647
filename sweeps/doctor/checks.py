"""The checks: each asks for one thing that would stop a sweep."""

import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property

import psutil
import torch

from carft.core.errors import UserError, size_words
from carft.core.machine import memory_limit
from carft.training.device import nvidia_smi
from sweeps.doctor.measuring import measured_rate
from sweeps.plan.planning import Plan, plan_of
from sweeps.plan.rates import Rate
from sweeps.plan.resources import Resources
from sweeps.ray_backend.connect import require_gpus
from sweeps.ray_backend.gpus import concurrency_here
from sweeps.ray_backend.preflight import existing_folder, obstacles, require_space
from sweeps.search.protocol import Protocol

SHARED = "/dev/shm"
#: bytes of shared memory that NCCL's documentation advises for a container
SHARED_BYTES = 2**30
#: name of the check of methods, data and weights, which has a line for each that is missing
RECIPE = "data and weights"


@dataclass(frozen=True)
class Measurement:
    """What one look at a machine found, in words with units. It raises ``UserError`` where a sweep cannot run."""

    measured: str
    remedy: str = ""
    """What to do; empty where nothing is wrong."""
    name: str = ""
    stops: bool = False
    """Whether a sweep cannot run like this."""

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return not (self.remedy or self.stops)


@dataclass(frozen=True, eq=False)
class Subject:
    """A sweep on this machine. log: gets a sentence before work that takes time."""

    protocol: Protocol
    request: Resources
    log: Callable[[str], None]

    @cached_property
    def obstacles(self) -> list[UserError]:
        """What is wrong with methods, data and weights."""
        return obstacles(self.protocol.recipe, self.request, self.log, of_machine=False)

    @cached_property
    def rate(self) -> Rate | UserError | None:
        """The rate of the recipe's cells, measured now, or what failed; None for want of GPUs, data or weights."""
        if self.obstacles or torch.cuda.device_count() < self.request.gpus:
            return None
        self.log("Training on a few batches ...")
        try:
            return measured_rate(self.protocol.recipe, self.request)
        except UserError as error:  # such as an image that cannot be read
            return error
        except RuntimeError as error:  # of torch, also where memory does not suffice
            hint = "If memory is full: --accumulation 2, or more. Otherwise look at nvidia-smi and the kernel's log."
            return UserError(f"A training step failed: {str(error).splitlines()[0]}.", hint)

    @cached_property
    def plan(self) -> Plan:
        """What the sweep takes: by the measured rate, else by records or an estimate."""
        measured = self.rate if isinstance(self.rate, Rate) else None
        return plan_of(self.protocol, self.request, concurrency_here(self.request), measured)


def driver(subject: Subject) -> Measurement:
    """Check that torch sees the GPUs that nvidia-smi lists."""
    require_gpus(subject.request.gpus)
    drivers = nvidia_smi("driver_version")  # of each GPU
    measured = f"torch {torch.__version__} for CUDA {torch.version.cuda or 'none'}"
    if not drivers:
        return Measurement(f"{measured}; no driver of NVIDIA")
    measured = f"{measured}; driver {drivers[0].strip()} with {len(drivers)} GPUs"
    if subject.request.gpus:
        return Measurement(measured)
    return Measurement(measured, f"A sweep like this runs on the CPU; for GPUs give --gpus {len(drivers)}.")


def training_step(subject: Subject) -> Measurement:
    """Check that the recipe trains here, and say how fast and in how much memory."""
    rate, plan = subject.rate, subject.plan
    if rate is None:
        return Measurement("not measured, since GPUs, data or weights are missing")
    if isinstance(rate, UserError):
        raise rate
    measured = f"{plan.images_per_second:,.0f} images/s of a device, one cell alone"
    card, pass_s = plan.hardware.card, rate.seconds * plan.hardware.devices
    if card is not None and plan.size is not None:
        measured += f", {plan.size.flop / pass_s / card.peak(plan.hardware.precision):.0%} of the card's peak"
    if subject.request.gpus and subject.request.execution.workers == 1:
        measured += f", {size_words(torch.cuda.max_memory_allocated())} of GPU memory at most"
    return Measurement(measured)


def disk(subject: Subject) -> Measurement:
    """Check that records, checkpoints and the cache of features have room, and that the results can be written."""
    root, plan, cache = subject.protocol.store.root, subject.plan, subject.request.execution.cache
    wanted = plan.bytes + plan.needs.checkpoint_bytes
    require_space(root, wanted)
    there = existing_folder(root)
    if not os.access(there, os.W_OK):
        raise UserError(f"'{there}' cannot be written.", "Name another folder.")
    measured = f"{size_words(shutil.disk_usage(there).free)} free, {size_words(wanted)} wanted"
    if cache is None:
        return Measurement(measured)
    held = sum(path.stat().st_size for path in cache.folder.glob("*.npy"))
    room = shutil.disk_usage(existing_folder(cache.folder)).free + held
    if room >= cache.limit:
        return Measurement(measured)
    small = f"The cache may take {size_words(cache.limit)}: give --feature-cache FOLDER or --feature-cache-size GIB."
    return Measurement(measured, small)


def memory(subject: Subject) -> Measurement:
    """Check that all cells fit into the memory of the host or container, and their workers into shared memory."""
    size = shutil.disk_usage(SHARED).total
    if size < SHARED_BYTES and subject.request.execution.workers > 1 and subject.request.gpus:
        raise UserError(
            f"{SHARED} has {size_words(size)}, with which NCCL fails between the workers of a cell.",
            "Start the container with --shm-size=8g.",
        )
    needed = subject.plan.needs.memory_per_device * (subject.request.gpus or 1)
    free = round(min(psutil.virtual_memory().available, memory_limit()))
    measured = f"{size_words(free)} available, about {size_words(needed)} wanted"
    if free >= needed:
        return Measurement(measured)
    return Measurement(measured, "Use fewer GPUs, or a machine with more memory.")


#: name -> check
CHECKS: Mapping[str, Callable[[Subject], Measurement]] = {
    "driver": driver,
    "training step": training_step,
    "disk": disk,
    "memory": memory,
}


def examine(subject: Subject) -> Iterator[Measurement]:
    """Yield every check when it is done. Where one raises ``UserError``, a sweep could not run."""
    for error in subject.obstacles:
        yield Measurement(error.message, error.hint, RECIPE, stops=True)
    if not subject.obstacles:
        recipe = subject.protocol.recipe
        yield Measurement(f"all that {recipe.name} needs is here, or can be downloaded", name=RECIPE)
    for name, check in CHECKS.items():
        try:
            result = check(subject)
        except UserError as error:
            result = Measurement(error.message, error.hint, stops=True)
        yield replace(result, name=name)
