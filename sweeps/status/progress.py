"""The progress of a running sweep on stderr, counts and time left, and its winners in the end."""

import time
from collections import Counter
from collections.abc import Callable, Mapping
from statistics import fmean

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeElapsedColumn

from carft.core.errors import duration
from carft.store.study_file import at_edge
from sweeps.search.protocol import Protocol
from sweeps.search.study import KINDS, Study

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


def winner_rows(protocol: Protocol) -> list[dict[str, str | None]]:
    """One row a study: its winner on validation, and means over its finished confirm cells in %, None where unmeasured.

    ``(edge)`` marks a value at the edge of its search range.
    """
    rows = []
    for study in protocol.studies:
        cells = [cell for cell in protocol.progress(study).confirm_cells if cell.id in protocol.done]
        method = study.method.name
        if study.recipe.searches > 1:
            method += f", search {study.search}"
        row: dict[str, str | None] = {"task": study.task, "method": method, "winning setting": None}
        if cells:
            row["winning setting"] = _setting_words(study, cells[0].hyperparameters) or None
        for metric in ("val/top1", "test/top1", "ood/mean/top1"):
            values = [protocol.done[cell.id].get(metric) for cell in cells]
            measured = [value for value in values if value is not None]
            is_measured = bool(cells) and len(measured) == len(cells)
            row[metric] = f"{100 * fmean(measured):.1f}" if is_measured else None
        rows.append(row)
    return rows


def _setting_words(study: Study, setting: Mapping[str, float]) -> str:
    words = []
    for name, value in setting.items():
        word = f"{name} {value:.2g}"
        limits = study.space.get(name)
        if limits and at_edge(value, limits.low, limits.high):
            word += " (edge)"
        words.append(word)
    return ", ".join(words)
