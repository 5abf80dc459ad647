"""The progress of a running sweep on stderr: counts and time left."""

import time
from collections import Counter
from collections.abc import Callable

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeElapsedColumn

from carft.core.errors import duration
from sweeps.search.jobs import KINDS
from sweeps.search.protocol import Protocol

LINE_EVERY_S = 15.0


class ProgressDisplay:
    """A live line on a terminal; elsewhere one plain line every :data:`LINE_EVERY_S` seconds."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.progress: Progress | None = None
        self.last_line = 0.0

    def watch(self, protocol: Protocol, seconds_left: Callable[[], float | None]) -> Callable[[], None]:
        """Start the display; returns the callback for every change. seconds_left: None where it is not known."""
        self.protocol, self.seconds_left = protocol, seconds_left
        if self.console.is_terminal:
            self.progress = Progress(
                "[bold]cells",
                BarColumn(),
                MofNCompleteColumn(),
                TimeElapsedColumn(),
                "{task.fields[note]}",
                console=self.console,
                refresh_per_second=4,
                transient=True,
                redirect_stdout=False,
                redirect_stderr=False,
            )
            self.bar = self.progress.add_task("", total=protocol.total(), note="starting Ray")
            self.progress.start()
        return self.update

    def update(self) -> None:
        """Display the current state."""
        ended = len(self.protocol.done) + len(self.protocol.pruned)
        if self.progress is not None:
            self.progress.update(self.bar, completed=ended, note=self._note())
        elif time.monotonic() - self.last_line > LINE_EVERY_S:
            self.last_line = time.monotonic()
            self.console.print(f"{ended}/{self.protocol.total()} cells  {self._note()}")

    def close(self) -> None:
        """Restore the terminal."""
        if self.progress is not None:
            self.progress.stop()

    def _note(self) -> str:
        running = Counter(job.kind for job in self.protocol.running.values())
        notes = [f"{running[kind]} {kind}" for kind in KINDS if running[kind]]
        if not notes:
            notes.append("no job runs")
        if self.protocol.failed:
            notes.append(f"{len(self.protocol.failed)} failed")
        if pruned := len(self.protocol.pruned):
            notes.append(f"{pruned} pruned")
        left = self.seconds_left()
        notes.append("time left unknown yet" if left is None else f"about {duration(left)} left")
        return ", ".join(notes)
