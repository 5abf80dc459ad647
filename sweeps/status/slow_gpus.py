"""GPUs that compute right but slower than the others of a sweep."""

from __future__ import annotations

from collections import defaultdict
from statistics import median

from sweeps.search.protocol import Job

#: time over that of the others from which on a GPU is slow, and jobs that must tell
SLOW, LEAST_JOBS = 1.25, 3


class GpuTimes:
    """How long alike jobs took on each GPU: those of a kind, task and method."""

    def __init__(self) -> None:
        self._seconds: dict[tuple[str, str, str], dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))

    def add(self, gpu: str, job: Job, seconds: float) -> None:
        """Note a job that is done. gpu: empty where it is not known."""
        if gpu:
            self._seconds[job.kind, job.cell.task, job.cell.method][gpu].append(seconds)

    def slow(self) -> dict[str, float]:
        """GPU -> its time over that of the others, the median over its jobs, of GPUs that are slow."""
        ratios: dict[str, list[float]] = defaultdict(list)
        for by_gpu in self._seconds.values():
            for gpu, own in by_gpu.items():
                if others := [value for other, values in by_gpu.items() if other != gpu for value in values]:
                    ratios[gpu] += [seconds / median(others) for seconds in own]
        medians = {gpu: median(values) for gpu, values in ratios.items() if len(values) >= LEAST_JOBS}
        return {gpu: ratio for gpu, ratio in medians.items() if ratio >= SLOW}
