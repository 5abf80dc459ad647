"""Which GPUs a sweep uses no longer. Pure bookkeeping; no Ray, no torch.

A GPU is set aside when it does not compute a small product in a new process, or when jobs fail on it twice without one
that succeeds in between. A job that failed on another GPU before is no evidence against a GPU, so that one faulty job
costs one GPU at most.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping

from carft.core.errors import UserError

#: failures in a row after which a GPU is set aside
MAX_FAILURES = 2


class Devices:
    """The GPUs of a sweep that fail. aside: GPUs that were set aside before, and why."""

    def __init__(self, aside: Mapping[str, str] | None = None) -> None:
        self.aside: dict[str, str] = dict(aside or {})
        """GPU -> why it is set aside."""
        self._failures: Counter[str] = Counter()  # GPU -> failures since the last job that succeeded
        self._failed_on: defaultdict[str, set[str]] = defaultdict(set)  # job key -> GPUs

    def failed(self, gpu: str, job: str, reason: str) -> bool:
        """Note that a job failed on a GPU; returns whether the GPU is set aside by this."""
        elsewhere = self._failed_on[job] - {gpu}
        self._failed_on[job].add(gpu)
        if elsewhere or gpu in self.aside:
            return False
        self._failures[gpu] += 1
        if self._failures[gpu] < MAX_FAILURES:
            return False
        self.aside[gpu] = reason
        return True

    def succeeded(self, gpu: str) -> None:
        """Note that a job succeeded on a GPU."""
        del self._failures[gpu]

    def broken(self, gpu: str, reason: str) -> None:
        """Note that a GPU does not compute in a new process: it is set aside."""
        self.aside.setdefault(gpu, reason)

    def none_left(self) -> UserError:
        """The error of a sweep that has no GPU to go on with."""
        why = "; ".join(f"{gpu} ({reason})" for gpu, reason in self.aside.items())
        return UserError(
            f"Too few GPUs work for one more cell; set aside: {why}.",
            "Finished cells are kept. Look at nvidia-smi and the kernel's log; the same command tries every GPU again.",
        )
