"""The same cells in other ways: nothing kept, a process per cell."""

from __future__ import annotations

import shlex
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from benchmarks.measuring import CORES, Figure, run_cli
from carft.catalog.catalog import BUILT_IN
from carft.catalog.resolve import command
from carft.store.records import Store

TASKS = "icons-3/mix-4,icons-3/mix-7"
TRIALS = 6
#: seconds between two looks at the CPU time of all processes; what a process uses after the last one is not counted
INTERVAL = 0.25
POWERCAP = Path("/sys/class/powercap")


@dataclass
class Used:
    """Wall and CPU seconds of a way, and joules where the machine counts them. CPU: all processes below this one."""

    wall: float = 0.0
    joules: float | None = None
    processes: dict[tuple[int, float], float] = field(default_factory=dict)

    @property
    def cpu(self) -> float:
        """CPU seconds of every process that was seen."""
        return sum(self.processes.values())

    def look(self) -> None:
        """Note what every process below this one has used so far."""
        for process in psutil.Process().children(recursive=True):
            try:
                times = process.cpu_times()
                self.processes[process.pid, process.create_time()] = times.user + times.system
            except psutil.NoSuchProcess:
                continue


def measure() -> list[Figure]:
    """Every way once, one after the other, each in folders of its own."""
    with tempfile.TemporaryDirectory() as scratch:
        here = Path(scratch)
        ways: Mapping[str, Callable[[], None]] = {
            "this sweep": lambda: _sweep(here, "sweep"),
            "nothing kept": lambda: _sweep(here, "naive", "--feature-cache", "none"),
            "a process per cell": lambda: _processes(here, here / "sweep"),
        }
        used = {name: _used(way) for name, way in ways.items()}
        cells = len(Store(here / "sweep").ids())
    return [figure for name in list(ways)[1:] for figure in _figures(name, used[name], used["this sweep"], cells)]


def _figures(name: str, used: Used, ours: Used, cells: int) -> Iterator[Figure]:
    note = f"{cells} cells on {CORES} cores: {used.wall:.0f} s against {ours.wall:.0f} s"
    yield Figure(f"{name}: wall time over this sweep's", used.wall / ours.wall, note=note)
    note = f"{used.cpu:.0f} s against {ours.cpu:.0f} s, start of Ray included"
    yield Figure(f"{name}: core time over this sweep's", used.cpu / ours.cpu, note=note)
    energy, note = None, "this machine does not count it"
    if used.joules is not None and ours.joules is not None:
        energy, note = used.joules / ours.joules, "of the whole machine"
    yield Figure(f"{name}: energy over this sweep's", energy, note=note)


def _used(way: Callable[[], None]) -> Used:
    used, before, began, over = Used(), _joules(), time.perf_counter(), threading.Event()

    def watch() -> None:
        while not over.wait(INTERVAL):
            used.look()

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        way()
    finally:
        over.set()
        watcher.join()
    used.wall = time.perf_counter() - began
    after = _joules()
    used.joules = None if before is None or after is None else after - before
    return used


def _joules() -> float | None:
    """Energy that the processors' packages used since some moment; None where the machine does not say."""
    try:
        counters = [float((package / "energy_uj").read_text()) for package in POWERCAP.glob("intel-rapl:?")]
    except OSError:
        return None
    return sum(counters) / 1e6 if counters else None


def _sweep(scratch: Path, name: str, *options: str) -> None:
    where = ["--results", str(scratch / name), "--feature-cache", str(scratch / f"features-{name}"), *options]
    asked = ["--tasks", TASKS, "--methods", "ft,car_ft", "--trials", str(TRIALS), "--seeds", "1"]
    run_cli("sweep", "miniature", *asked, *where)


def _processes(scratch: Path, swept: Path) -> None:
    """Every cell of a finished sweep again, each as a process, as many at a time as there are cores."""
    features = ["--feature-cache", str(scratch / "features-processes")]
    store, results = Store(swept), str(scratch / "processes")
    wanted = [
        command(record.cell, results, unseal=bool(store.evaluation_paths(record.id)), catalog=BUILT_IN)
        for record in store.records()
    ]
    with ThreadPoolExecutor(CORES) as pool:
        list(pool.map(lambda words: run_cli(*shlex.split(words)[2:], *features), wanted))
