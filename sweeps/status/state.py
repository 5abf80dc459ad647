"""How far a sweep is, as a small file beside the records: written while it runs, read from any terminal. No Ray.

sweeps/<start>-<process>.json      one for each sweep; replaced whole every few seconds
"""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from carft.core.errors import UserError
from carft.core.files import write_atomic
from carft.store.records import Store

SCHEMA = 1
#: seconds after which a sweep on another machine that wrote nothing counts as gone
SILENT = 60.0


@dataclass(frozen=True)
class Running:
    """A job that runs. since: Unix time at which it was handed out."""

    job: str
    cell: str
    task: str
    method: str
    since: float


@dataclass(frozen=True)
class Counts:
    """Cells of a task, or of all: done, of which ``reused`` were found done, failed, given up early, and in all."""

    total: int = 0
    done: int = 0
    reused: int = 0
    failed: int = 0
    running: int = 0
    stopped: int = 0

    @property
    def left(self) -> int:
        """Cells that still have to end."""
        return self.total - self.done - self.failed - self.stopped


@dataclass(frozen=True)
class SweepState:
    """A sweep at one moment. Times are Unix times in seconds.

    ended: None while it runs. outcome: done, stopped or broken once it ended. failed: job -> reason. left_s: None when
    it cannot be said; basis: what it rests on. slots: most jobs that ran at once. busy: shares of 1 by name, means
    since the start. dashboard: Ray's, empty where it does not run. searches: independent searches of every question.
    """

    recipe: str
    host: str
    pid: int
    started: float
    updated: float
    counts: Counts
    tasks: Mapping[str, Counts] = field(default_factory=dict)
    running: tuple[Running, ...] = ()
    failed: Mapping[str, str] = field(default_factory=dict)
    ended: float | None = None
    outcome: str = ""
    left_s: float | None = None
    basis: str = ""
    slots: int = 0
    busy: Mapping[str, float] = field(default_factory=dict)
    dashboard: str = ""
    searches: int = 1

    @property
    def name(self) -> str:
        """The file's name without its ending."""
        return f"{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime(self.started))}-{self.pid}"

    @property
    def rate(self) -> float:
        """Cells finished a second by this sweep."""
        elapsed = (self.ended or self.updated) - self.started
        return (self.counts.done - self.counts.reused) / elapsed if elapsed > 0 else 0.0

    def is_alive(self) -> bool:
        """Whether its process still runs; on another machine: whether it wrote lately."""
        if self.ended is not None:
            return False
        if self.host == socket.gethostname():
            return Path(f"/proc/{self.pid}").is_dir() if Path("/proc").is_dir() else _answers(self.pid)
        return time.time() - self.updated < SILENT


def _answers(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def write_state(store: Store, state: SweepState) -> None:
    """Replace the sweep's file."""
    path = store.root / "sweeps" / f"{state.name}.json"
    path.parent.mkdir(exist_ok=True)
    text = json.dumps({"schema": SCHEMA, **asdict(state)}, indent=1, allow_nan=False)
    with store.changing(f"sweeps/{path.name}"):
        write_atomic(path, lambda part: part.write_text(text + "\n", encoding="utf-8"))


def read_states(store: Store) -> list[SweepState]:
    """Every sweep that wrote to this folder, oldest first; ``UserError`` for a file that cannot be understood."""
    return sorted(map(_read, (store.root / "sweeps").glob("*.json")), key=lambda state: state.started)


def _read(path: Path) -> SweepState:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content.pop("schema") != SCHEMA:
            raise ValueError("it has another schema")
        known = {f.name for f in fields(SweepState)}
        content = {name: value for name, value in content.items() if name in known}
        content["counts"] = _counts(content["counts"])
        content["tasks"] = {name: _counts(counts) for name, counts in content["tasks"].items()}
        content["running"] = tuple(Running(**running) for running in content["running"])
        state = SweepState(**content)
        _require_types(state)
        return state
    except (OSError, ValueError, KeyError, TypeError, AttributeError, ArithmeticError, RecursionError) as error:
        raise UserError(
            f"The state of a sweep, '{path}', cannot be read: {error}.", "Remove it: nothing else rests on it."
        ) from error


def _counts(content: Mapping[str, Any]) -> Counts:
    counts = Counts(**content)
    if not all(type(value) is int for value in asdict(counts).values()):
        raise ValueError("a count is no number")
    return counts


def _require_types(state: SweepState) -> None:
    words = [state.recipe, state.host, state.outcome, state.basis, state.dashboard, *state.failed.values()]
    words += [word for r in state.running for word in (r.job, r.cell, r.task, r.method)]
    numbers = [state.pid, state.started, state.updated, state.slots, state.searches, *(r.since for r in state.running)]
    numbers += [*state.busy.values(), *(n for n in (state.ended, state.left_s) if n is not None)]
    if not all(isinstance(word, str) for word in words) or not all(_is_time(number) for number in numbers):
        raise ValueError("a value has the wrong type")


def _is_time(number: object) -> bool:
    return isinstance(number, int | float) and not isinstance(number, bool) and 0 <= number < 1e11
