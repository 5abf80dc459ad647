"""What the fault suite needs: a sweep as a process of its own, and what of a results folder may not change."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from carft.catalog.catalog import BUILT_IN
from carft.store.records import Store
from sweeps.recipes.loading import load_recipe
from tests.support.gates import Gate
from tests.support.helpers import ROOT, TASK, cli_command, environment

#: a sweep of the smallest task, without its trials
SMALL = ("miniature", "--smoke", "--tasks", TASK, "--methods", "zeroshot,ft", "--seeds", 1,
         "--model", "icons-resnet", "--pretrained", "icons-3")  # fmt: skip
#: zero-shot, four trials and a confirm cell
SWEEP, CELLS = (*SMALL, "--trials", 4), 6
#: longest wait, which only ends a hang
SECONDS = 900
#: of Ray's processes, those that look once a minute whether they are still needed
AGENTS = {"ray::DashboardAgent", "ray::RuntimeEnvAgent"}

#: what of a finished cell may not change: path -> (time of its last change in ns, digest)
Files = Mapping[str, tuple[int, str]]


class Sweep:
    """A sweep that runs, in a session of its own; what it prints goes to a file.

    gate: where its cells stop half way. results: the mirror of a url.
    """

    def __init__(
        self,
        results: Path,
        *arguments: object,
        gate: Gate | None = None,
        env: Mapping[str, str] | None = None,
        url: str = "",
    ) -> None:
        place = results.parent  # not in it: its disk may be full
        self.results, self.output = results, place.with_name(f"{place.name}-{time.monotonic_ns()}.txt")
        command = cli_command("sweep", *arguments, "--results", url or results)
        env = {**environment(), **(gate.environment if gate else {}), **(env or {})}
        with self.output.open("w") as stream:
            self.process = subprocess.Popen(
                command, cwd=ROOT, env=env, stdout=stream, stderr=stream, start_new_session=True
            )

    @property
    def said(self) -> str:
        return self.output.read_text()

    @property
    def answer(self) -> dict[str, Any]:
        """What --json printed, after everything else."""
        return json.loads(self.said[self.said.index("\n{\n") :])

    def until(self, condition: Callable[[], object], what: str) -> None:
        """Wait until something is so, while the sweep runs."""
        end = time.monotonic() + SECONDS
        while time.monotonic() < end:
            if condition():
                return
            assert self.process.poll() is None, f"the sweep ended before {what}:\n{self.said}"
            time.sleep(0.05)
        raise AssertionError(f"never: {what}\n{self.said}")

    def end(self) -> int:
        """Wait for its end; the exit code."""
        return self.process.wait(SECONDS)

    def kill(self) -> None:
        """Make sure that nothing of it is left."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()


def _starts(log: Path) -> list[str]:
    """The processes in which the attempts of a job began."""
    return re.findall(r"process (\d+) \[job", log.read_text(errors="replace"))


def repeated_jobs(results: Path) -> set[str]:
    """The jobs that were begun more than once by the last sweep that ran them."""
    return {log.stem for log in results.glob("logs/*.log") if len(_starts(log)) > 1}


def below(process: int) -> dict[int, str]:
    """Process -> title, of all processes that a process started, and those that these started."""
    parents, titles = {}, {}
    for place in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            parents[int(place.name)] = int((place / "stat").read_text().rpartition(")")[2].split()[1])
            titles[int(place.name)] = (place / "cmdline").read_text(errors="replace").replace("\0", " ").strip()
    found, waiting = {}, [process]
    while waiting:
        parent = waiting.pop()
        children = [child for child, its in parents.items() if its == parent]
        found |= {child: titles.get(child, "") for child in children}
        waiting += children
    return found


def began(process: int) -> int:
    """When a process began, in ticks since boot; 0 for one that is gone. Numbers of processes are used again."""
    with contextlib.suppress(OSError):
        return int(Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[19])
    return 0


def titles(processes: Mapping[int, int]) -> set[str]:
    """The titles of those that still run. processes: number -> when it began."""
    found = set()
    for process, when in processes.items():
        with contextlib.suppress(OSError):
            if began(process) != when:
                continue
            found.add(Path(f"/proc/{process}/cmdline").read_text().replace("\0", " ").strip())
    return found - {""}  # what has ended and was not asked how


def require_gone(processes: Mapping[int, int]) -> None:
    """Wait until processes have ended. processes: number -> when it began."""
    for _ in range(SECONDS):
        if not (left := titles(processes) - AGENTS):
            return
        time.sleep(1)
    raise AssertionError(left)


def records(results: Path) -> set[str]:
    """The cells that have a record."""
    return {path.parent.name for path in results.glob("cells/*/record.json")}


def finished(results: Path) -> dict[str, Files]:
    """Cell -> its files, of all cells that nothing is left to do for; and the log of its job once that is over."""
    store, found, jobs = Store(results), {}, {}
    for cell in records(results):
        jobs[cell], needs = _made_by(store, cell)
        if store.evaluated(cell) >= needs:
            files = [path for path in store.folder(cell).rglob("*") if path.is_file()]
            found[cell] = {str(path.relative_to(results)): _state(path) for path in files}
    done, alphas = Counter(jobs[cell] for cell in found), len(load_recipe("miniature").alphas)
    for cell, files in found.items():
        if done[jobs[cell]] == (alphas if jobs[cell].startswith("curve") else 1):
            log = results / "logs" / f"{jobs[cell]}.log"
            files[str(log.relative_to(results))] = _state(log)
    return found


def _made_by(store: Store, cell: str) -> tuple[str, set[str]]:
    """The job that made a cell, and the sets that the cell has to be evaluated on before the job is done."""
    made = store.read(cell).cell
    if made.parents:
        job = f"curve-{made.parents[0]}"
    elif (store.root / "logs" / f"search-{cell}.log").is_file():
        return f"search-{cell}", set()
    else:
        job = f"confirm-{cell}"
    return job, set(BUILT_IN.card(made.task).sets)


def _state(path: Path) -> tuple[int, str]:
    return path.stat().st_mtime_ns, hashlib.sha256(path.read_bytes()).hexdigest()


@dataclass(frozen=True)
class Toll:
    """What a fault cost. finished: cells that were done when it happened; lost: of these, gone or changed in the end;
    repeated: of these, begun again; all: cells of the whole sweep in the end."""

    finished: int
    lost: int
    repeated: int
    all: int


def toll(before: Mapping[str, Files], results: Path) -> Toll:
    """Compare what was finished when a fault happened with what is there in the end."""
    after = finished(results)
    lost = [cell for cell, files in before.items() if _of_cell(after.get(cell, {})) != _of_cell(files)]
    repeated = [
        cell for cell, files in before.items() if not _logs(files).items() <= _logs(after.get(cell, {})).items()
    ]
    return Toll(len(before), len(lost), len(repeated), len(after))


def _of_cell(files: Files) -> Files:
    return {name: state for name, state in files.items() if name.startswith("cells/")}


def _logs(files: Files) -> Files:
    return {name: state for name, state in files.items() if name.startswith("logs/")}


def outcome(results: Path) -> dict[str, object]:
    """What a sweep is for: the winner and the confirm cells of each study, and the metrics of all cells."""
    store = Store(results)
    studies = {f"{s.task} {s.method}": [s.winner, s.confirm] for s in store.studies()}
    return {"studies": studies, "metrics": {cell: store.metrics(cell) for cell in store.ids()}}


def mounted(place: Path, megabytes: int) -> bool:
    """Whether a small file system of its own could be mounted there."""
    if sys.platform != "linux" or os.geteuid():
        return False
    size = f"size={megabytes}m"
    return subprocess.run(["mount", "-t", "tmpfs", "-o", size, "tmpfs", place], capture_output=True).returncode == 0
