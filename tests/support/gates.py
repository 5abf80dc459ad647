"""A gate for the cells of a sweep that a test starts: they stop at it half way, and pass when the test lets them.

A fault then meets the same cells on every machine, fast or busy.
``RAY_RUNTIME_ENV_HOOK=tests.support.gates.runtime_env`` makes Ray call :func:`install` in every worker: each cell
that trains stops after its first step. Cells of ``tests/support/dry.py`` stop when half of their files are written.
``CARFT_GATE`` names the folder of the gate; without it nothing stops.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

FOLDER = "CARFT_GATE"
#: after the name of a cell, in the name of a file: it passes once its sweep ends
ENDING = ".ending"
#: seconds after which a cell that nobody lets pass fails: no test waits as long
LIMIT_S = 1800


class Gate:
    """A closed gate. A process that stops at it puts an empty file ``<name>@<process>`` into its folder; a file
    ``<name>`` lets every process of this name pass, without the folder all pass. name: of a cell or a job.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()

    @property
    def environment(self) -> dict[str, str]:
        """What the environment of a sweep needs for this gate."""
        return {"RAY_RUNTIME_ENV_HOOK": "tests.support.gates.runtime_env", FOLDER: str(self.folder)}

    def held(self) -> dict[int, str]:
        """Process -> name, of those that stopped and were not let pass."""
        names = {path.name for path in self.folder.glob("*")}
        stopped = (name.split("@") for name in names if "@" in name)
        return {int(process): name for name, process in stopped if name not in names}

    def let(self, name: str) -> None:
        """Let a cell or job pass, now and when it is tried again."""
        (self.folder / name).touch()

    def let_end(self, name: str) -> None:
        """Let a cell pass once its sweep ends, of which it hears at its next step: it cannot be finished before."""
        (self.folder / f"{name}{ENDING}").touch()
        self.let(name)

    def let_one(self) -> None:
        """Let one pass of those that are held now."""
        self.let(next(iter(self.held().values())))

    def let_held(self) -> None:
        """Let all pass that are held now."""
        for name in self.held().values():
            self.let(name)

    def open(self) -> None:
        """Let all pass, also those that come later."""
        away = self.folder.with_name(f"{self.folder.name}-open")
        with suppress(FileNotFoundError):  # it is open
            self.folder.rename(away)  # at once, since others put files into it
        shutil.rmtree(away, ignore_errors=True)


@contextmanager
def closed_gate(folder: Path) -> Iterator[Gate]:
    """A gate that is open after the block, however that ends."""
    gate = Gate(folder)
    try:
        yield gate
    finally:
        gate.open()


def stop(name: str) -> None:
    """Stop at the gate of this worker process until it may pass."""
    if FOLDER not in os.environ:
        return
    folder, end = Path(os.environ[FOLDER]), time.monotonic() + LIMIT_S
    stopped = folder / f"{name}@{os.getpid()}"
    with suppress(FileNotFoundError):  # the gate is open
        stopped.touch()
    while stopped.exists() and not (folder / name).exists():
        if time.monotonic() > end:
            raise RuntimeError(f"nobody let {name} pass")
        time.sleep(0.02)


def wait_for_end(name: str) -> None:
    """Wait until the sweep of this worker process ends, where the cell may pass only then."""
    from carft.training.preemption import ASK_S
    from sweeps.ray_backend.stopping import is_stopping

    if FOLDER not in os.environ or not Path(os.environ[FOLDER], f"{name}{ENDING}").exists():
        return
    end = time.monotonic() + LIMIT_S
    while not is_stopping():
        if time.monotonic() > end:
            raise RuntimeError(f"the sweep of {name} did not end")
        time.sleep(0.05)
    time.sleep(ASK_S)  # a training that asked a moment ago does not ask again


def runtime_env(asked: dict[str, Any] | None, install: str = "tests.support.gates.install") -> dict[str, Any]:
    """Ray's hook, called in the process of the sweep. Workers of a cluster do not inherit its environment."""
    given = asked or {}
    variables = {**given.get("env_vars", {}), **{name: os.environ[name] for name in (FOLDER,) if name in os.environ}}
    return {**given, "worker_process_setup_hook": install, "env_vars": variables}


def install() -> None:
    """Have the cells that this process trains stop after their first step."""
    from carft.training.loop import Trainer
    from sweeps.ray_backend.connect import prepare_worker

    prepare_worker()  # what this hook replaces

    save = Trainer.save

    def save_and_stop(self: Trainer) -> None:
        save(self)
        if self.progress.step == 1:
            stop(self.checkpoints.path.stem)
            wait_for_end(self.checkpoints.path.stem)

    Trainer.save = save_and_stop  # type: ignore[method-assign]
