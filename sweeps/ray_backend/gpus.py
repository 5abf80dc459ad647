"""GPUs that a sweep sets aside while it runs, and how they are kept from Ray."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any, cast

import ray

from carft.training import device
from sweeps.faults.devices import Devices
from sweeps.ray_backend.scheduler import HOLDS

#: seconds that an actor which takes a free GPU may need to start
START_S = 60.0


class Gpus:
    """Notes how jobs end on GPUs, and sets failing GPUs aside.

    log: gets one sentence for every GPU that is set aside. hold: called with its name where no actor of the sweep holds
    it: for cells of several workers.
    """

    def __init__(
        self,
        devices: Devices | None = None,
        log: Callable[[str], object] = lambda _: None,
        hold: Callable[[str], object] = lambda _: None,
    ) -> None:
        self.devices = devices or Devices()
        self.log, self.hold = log, hold

    def ended(self, gpu: str, job: str, kind: str, reason: str) -> None:
        """Note how a job ended on a GPU, which is empty where it is not known. reason: empty for a job that is done."""
        if not gpu:
            return
        if not reason:
            self.devices.succeeded(gpu)
        elif kind == "device" and self.devices.failed(gpu, job, reason):
            self._set_aside(gpu)

    def held(self, result: dict[str, Any]) -> None:
        """Note the first result of an actor that runs no job and holds its GPU."""
        if result["broken"] and result[HOLDS] not in self.devices.aside:
            self.devices.broken(result[HOLDS], result["broken"])
            self._set_aside(result[HOLDS])

    def _set_aside(self, gpu: str) -> None:
        self.log(f"{gpu} is set aside for this sweep: {self.devices.aside[gpu]}")
        self.hold(gpu)


class _Holder:
    """Occupies a GPU in Ray and does nothing with it."""

    def gpu(self) -> str:
        """Name of the GPU."""
        return device.gpu_name()


class Holders:
    """Actors that occupy set-aside GPUs until the sweep's Ray session ends."""

    def __init__(self) -> None:
        self.kept: dict[str, Any] = {}
        """GPU -> the actor that occupies it."""

    def hold(self, gpu: str) -> bool:
        """Occupy a GPU that no job uses now; returns whether that succeeded.

        Ray does not let a caller choose a GPU. All that are free are therefore taken for a moment, and all but the one
        that is wanted are given back.
        """
        taken: dict[str, Any] = {}
        while gpu not in taken and ray.available_resources().get("GPU", 0) >= 1:
            actor: Any = cast(Any, ray.remote(num_cpus=0, num_gpus=1)(_Holder)).remote()
            try:
                taken[ray.get(actor.gpu.remote(), timeout=START_S)] = actor
            except ray.exceptions.RayError:  # another job was faster
                ray.kill(actor)
                break
        if gpu in taken:
            self.kept[gpu] = taken.pop(gpu)
        for actor in taken.values():
            with contextlib.suppress(ray.exceptions.RayError):
                ray.kill(actor)
        return gpu in self.kept
