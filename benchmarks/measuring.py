"""What a benchmark hands back, and how two ways of doing one thing are timed against each other."""

from __future__ import annotations

import math
import operator
import os
import platform
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
COMPARISONS = {"<=": operator.le, ">=": operator.ge}
#: a share of the smallest cost that two measurements of the same thing may differ by
NOISE = 0.02
#: cores that this process may use
CORES = len(os.sched_getaffinity(0))
PACKAGES = ("torch", "open_clip_torch", "ray", "numpy", "pandas")


@dataclass(frozen=True)
class Figure:
    """One measured number. target: such as ``<= 1.03``; without one the figure is for information.

    measured: None where it could not be measured, and note says why. n: how often it was measured. half_width: half of
    the 95 % interval, in the same unit, where there is one.
    """

    name: str
    measured: float | None
    target: str | None = None
    n: int = 1
    unit: str = "x"
    note: str = ""
    half_width: float | None = None

    @property
    def met(self) -> bool | None:
        """Whether the target is met; None without a target or without a number."""
        if self.target is None or self.measured is None:
            return None
        sign, limit = self.target.split()
        return bool(COMPARISONS[sign](self.measured, float(limit)))

    def as_dict(self) -> dict[str, Any]:
        """Plain values for results.json."""
        measured = None if self.measured is None else float(f"{self.measured:.4g}")
        return {**asdict(self), "measured": measured, "met": self.met}


def interleaved(
    runs: Mapping[str, Callable[[], object]], rounds: int, clock: Callable[[], float] = time.process_time
) -> dict[str, list[float]]:
    """Seconds of every run, one per round: A, B, A, B, ..., so that what slows the machine down slows both.

    One round more is run first and not counted. clock: CPU seconds of this process unless told otherwise, which other
    processes on the machine hardly touch.
    """
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for number in range(rounds + 1):
        for name, run in runs.items():
            started = clock()
            run()
            if number:
                seconds[name].append(clock() - started)
    return seconds


def ratio(seconds: Mapping[str, Sequence[float]], name: str, to: str) -> float:
    """Median over the rounds of one run's time over another's in the same round."""
    return statistics.median(a / b for a, b in zip(seconds[name], seconds[to], strict=True))


def cpu_seconds() -> float:
    """CPU seconds of this process and of its children that have ended, a clock for commands."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def run_cli(*words: str) -> None:
    """Run a command of the project as a process. Raises ``RuntimeError`` with what it said for any exit code but 0."""
    command = [sys.executable, "cli.py", *words]
    done = subprocess.run(command, cwd=ROOT, env=environment(), capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(words)} ended with exit code {done.returncode}: {done.stderr}")


def memory_mib(line: str) -> float:
    """Memory of this process in MiB, by a line of the kernel's status of it."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(int(found.split()[1]) / 1024 for found in lines if found.startswith(line))


def environment(**more: str) -> dict[str, str]:
    """The environment of a child process that finds the project without being installed."""
    return {**os.environ, "PYTHONPATH": str(ROOT), **more}


def growth(sizes: Sequence[float], costs: Sequence[float]) -> float | None:
    """b of cost = c + a * size^b through three points whose sizes are a geometric series; None where nothing grows.

    c is what does not depend on size: fitted on the costs themselves, it would hide how fast the rest grows.
    """
    small, middle, large = costs
    if middle - small <= NOISE * small or large - middle <= NOISE * small:
        return None
    return math.log((large - middle) / (middle - small)) / math.log(sizes[1] / sizes[0])


def machine() -> dict[str, Any]:
    """What the figures were measured on."""
    return {
        "processor": _processor(),
        "cores": CORES,
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30),
        "system": f"{platform.system()} {platform.machine()}",
        "load_before": round(os.getloadavg()[0], 1),
        "loop_ms": round(1000 * min(_loop_seconds() for _ in range(3))),
    }


def _loop_seconds() -> float:
    """CPU seconds of a million additions in Python: the speed of the machine at this moment."""
    started, total = time.process_time(), 0
    for number in range(1_000_000):
        total += number
    return time.process_time() - started


def versions() -> dict[str, str]:
    """Versions of Python, this project and the packages that decide about speed."""
    from carft import __version__

    return {"python": platform.python_version(), "carft": __version__, **{name: version(name) for name in PACKAGES}}


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines() if Path("/proc/cpuinfo").exists() else []
    found = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return found[0] if found else platform.processor()
