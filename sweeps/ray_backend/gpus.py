"""Which GPU a job gets, how many jobs run at a time, and which GPUs get no job any more.

An actor asks Ray for a CPU and a GPU, or a share of one (:func:`actor_resources`). Ray chooses the GPU and shows the
process no other; the actor keeps it for the whole sweep, and jobs go to whichever actor is free. The workers of a cell
of several workers are placed by Ray Train, a GPU for each (:func:`using_worker_gpu`).

A GPU is set aside when it does not compute a small product in a new process, or when jobs fail on it twice without one
that succeeds in between. A job that failed on another GPU before is no evidence against a GPU, so that one faulty job
costs one GPU at most. An actor then occupies the GPU, so that Ray gives it to no other job.
"""

import os
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any, cast

from carft.core.errors import DeviceFailed, UserError
from carft.core.failure_kinds import FailureKind, is_gpu_fault
from carft.core.source import text_digest
from carft.training import device
from sweeps.plan.resources import Resources

#: failures in a row after which a GPU is set aside
MAX_FAILURES = 2
#: result key of an actor that runs no job and holds its GPU
HOLDS = "holds"
#: seconds that an actor which takes a free GPU may need to start
START_S = 60.0
#: resources of the coordinator of a cell of several workers, which computes nothing: one byte of memory, which every
#: node has, since Tune requires some resource
COORDINATOR: Mapping[str, float] = {"memory": 1.0}
#: parts into which Ray divides a GPU
PARTS_OF_A_GPU = 10_000


def actor_resources(request: Resources, plugin: str = "") -> dict[str, float]:
    """Resources of an actor: of its one worker, or of the coordinator of several.

    The share of a GPU is rounded down to Ray's ten-thousandths. plugin: as of the cell. Tune gives an actor only jobs
    that ask for the same resources, so a few bytes of memory keep jobs with code from outside this package, each code
    by itself, out of the processes of all others.
    """
    if request.execution.workers > 1:
        resources = dict(COORDINATOR)
    else:
        resources = {"cpu": 1.0}
        if request.gpus:
            resources["gpu"] = PARTS_OF_A_GPU // request.execution.cells_per_gpu / PARTS_OF_A_GPU
    if plugin:
        resources["memory"] = 2.0 + int(text_digest(plugin)[:5], 16)
    return resources


@contextmanager
def using_worker_gpu(wanted: str) -> Iterator[None]:
    """Use the GPU of this worker, once it computes. A failure of it within the block is raised with its name."""
    if wanted == "cpu":
        yield
        return
    import ray.train.torch
    import torch

    number = ray.train.torch.get_device().index  # workers of one node see the same GPUs
    gpu = device.gpu_name(number)
    try:
        torch.cuda.set_device(number)
        device.probe_gpu("cuda", gpu)
        yield
    except RuntimeError as error:
        if not is_gpu_fault(error) or isinstance(error, DeviceFailed):
            raise
        raise DeviceFailed(str(error).splitlines()[0], gpu) from error


def concurrency(request: Resources, aside: int = 0) -> int:
    """Number of cells that can run at a time on the nodes that are alive; at least 1, unless GPUs are set aside.

    Cells of one worker count by cores and by GPUs asked for: those that wait make an autoscaler add GPUs. aside: GPUs
    of these nodes that the sweep does not use.
    """
    nodes = _nodes()
    if aside:
        gpus = sum(node.get("GPU", 0) for node in nodes) - aside
        processes = int(gpus * request.execution.cells_per_gpu)
        return max(0, min(_cells_on(request, nodes), processes // request.execution.workers))
    if request.execution.workers > 1:
        return max(1, _cells_on(request, nodes))
    cells = sum(int(node.get("CPU", 0)) for node in nodes)
    if request.gpus:
        cells = min(cells, request.gpus * request.execution.cells_per_gpu)
    return max(1, cells)


def concurrency_here(request: Resources) -> int:
    """Number of cells that can run at a time when Ray starts on this machine; at least 1."""
    return max(1, _cells_on(request, [{"CPU": os.cpu_count() or 1, "GPU": request.gpus}]))


def has_room(request: Resources) -> bool:
    """Whether a cell fits on the nodes that are alive."""
    return _cells_on(request, _nodes()) > 0


def cores_per_process(request: Resources) -> int:
    """CPU cores for each process of a cell, on the node that has the fewest; at least 1. Ray must be connected."""
    fewest = []
    for node in _nodes():
        processes = _processes(request, node)
        if processes:
            fewest.append(int(node.get("CPU", 0) // processes))
    return max(1, min(fewest, default=1))


def _cells_on(request: Resources, nodes: Iterable[Mapping[str, float]]) -> int:
    """Cells that run on nodes at a time; the workers of one cell may be on several nodes."""
    processes = sum(_processes(request, node) for node in nodes)
    if request.gpus:
        processes = min(processes, request.gpus * request.execution.cells_per_gpu)
    return processes // request.execution.workers


def _processes(request: Resources, node: Mapping[str, float]) -> int:
    """Processes of cells that run on a node at a time: each has a core, and where GPUs are asked for a share of one."""
    by_cpu = int(node.get("CPU", 0))
    if not request.gpus:
        return by_cpu
    gpus = min(request.gpus, node.get("GPU", 0))
    return min(by_cpu, int(gpus * request.execution.cells_per_gpu))


def _nodes() -> list[Mapping[str, float]]:
    """Resource -> amount, of the nodes that are alive."""
    import ray

    return [node["Resources"] for node in ray.nodes() if node["Alive"]]


class GpuHealth:
    """Notes how jobs end on GPUs, and sets failing GPUs aside.

    aside: GPU -> why it is set aside; gets the GPUs that fail. log: gets a sentence for each. holds: whether they are
    occupied here, since no actor of the sweep holds them: for cells of several workers.
    """

    def __init__(
        self,
        aside: dict[str, str] | None = None,
        log: Callable[[str], object] = lambda _: None,
        holds: bool = False,
    ) -> None:
        self.aside = {} if aside is None else aside
        self.log, self.holds = log, holds
        self.holders: dict[str, Any] = {}
        """GPU -> the actor that occupies it until the sweep's Ray session ends."""
        self._failures: Counter[str] = Counter()  # GPU -> failures since the last job that succeeded
        self._failed_on: defaultdict[str, set[str]] = defaultdict(set)  # job key -> GPUs

    def ended(self, gpu: str, job: str, kind: str, reason: str) -> None:
        """Note how a job ended on a GPU, which is empty where it is not known. reason: empty for a job that is done."""
        if not gpu:
            return
        if not reason:
            del self._failures[gpu]
            return
        if kind != FailureKind.DEVICE:
            return
        elsewhere = self._failed_on[job] - {gpu}
        self._failed_on[job].add(gpu)
        if not elsewhere and gpu not in self.aside:
            self._failures[gpu] += 1
            if self._failures[gpu] >= MAX_FAILURES:
                self._set_aside(gpu, reason)

    def held(self, gpu: str, broken: str) -> None:
        """Note an actor that runs no job and holds its GPU. broken: why the GPU does not compute, empty if it does."""
        if broken and gpu not in self.aside:
            self._set_aside(gpu, broken)

    def none_left(self) -> UserError:
        """The error of a sweep that has no GPU to go on with."""
        why = "; ".join(f"{gpu} ({reason})" for gpu, reason in self.aside.items())
        return UserError(
            f"Too few GPUs work for one more cell; set aside: {why}.",
            "Finished cells are kept. Look at nvidia-smi and the kernel's log; the same command tries every GPU again.",
        )

    def _set_aside(self, gpu: str, reason: str) -> None:
        self.aside[gpu] = reason
        self.log(f"{gpu} is set aside for this sweep: {reason}")
        if self.holds:
            self.hold(gpu)

    def hold(self, gpu: str) -> bool:
        """Occupy a GPU that no job uses now; returns whether that succeeded.

        Ray does not let a caller choose a GPU. All that are free are therefore taken for a moment, and all but the one
        that is wanted are given back.
        """
        import ray

        taken: dict[str, Any] = {}
        while gpu not in taken and ray.available_resources().get("GPU", 0) >= 1:
            actor: Any = cast(Any, ray.remote(num_cpus=0, num_gpus=1)(_Holder)).remote()
            try:
                taken[ray.get(actor.gpu.remote(), timeout=START_S)] = actor
            except ray.exceptions.RayError:  # another job was faster
                ray.kill(actor)
                break
        if gpu in taken:
            self.holders[gpu] = taken.pop(gpu)
        for actor in taken.values():
            with suppress(ray.exceptions.RayError):
                ray.kill(actor)
        return gpu in self.holders


class _Holder:
    """Occupies a GPU in Ray and does nothing with it."""

    def gpu(self) -> str:
        """Name of the GPU."""
        return device.gpu_name()
