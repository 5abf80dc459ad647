"""Displays the progress of a running sweep on stderr, counts and time left, and its winners in the end."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Column, Table

from carft.core.errors import duration
from carft.data.folder.naming import break_label, labels
from carft.store.study import at_edge
from sweeps.search.protocol import Protocol
from sweeps.search.study import Kind, Study

LINE_EVERY_S = 15.0
#: kind of a job -> what is happening while it runs, in the order in which they are named
HAPPENING: Mapping[Kind, str] = {
    "search": "searching",
    "grid": "training at fixed settings and opening their test sets",
    "confirm": "confirming winners and opening their test sets",
    "curve": "opening the test sets of interpolations",
    "soup": "averaging weights and opening their test sets",
    "oracle": "opening the test sets of search cells",
}


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
                TextColumn("[bold]cells"),
                BarColumn(),
                MofNCompleteColumn(),
                TimeElapsedColumn(),
                TextColumn("{task.fields[note]}"),
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
        if self.progress is not None:
            self.progress.update(self.bar, completed=len(self.protocol.done), note=self._note())
        elif time.monotonic() - self.last_line > LINE_EVERY_S:
            self.last_line = time.monotonic()
            self.console.print(f"{len(self.protocol.done)}/{self.protocol.total()} cells  {self._note()}")

    def close(self) -> None:
        """Restore the terminal."""
        if self.progress is not None:
            self.progress.stop()

    def _note(self) -> str:
        left = self.seconds_left()
        time_left = "time left unknown yet" if left is None else f"about {duration(left)} left"
        kinds = {job.kind for job in self.protocol.running.values()}
        happening = ", ".join(words for kind, words in HAPPENING.items() if kind in kinds) or "waiting"
        failed = f", {len(self.protocol.failed)} failed" if self.protocol.failed else ""
        return f"{happening}{failed}, {time_left}"


def winners_table(protocol: Protocol) -> Table:
    """Winner of each study on validation, and means over its finished confirm cells in %; "-" for a missing metric.

    ``(edge)`` marks a value at the edge of its search range.
    """
    columns = ("val/top1", "test/top1", "ood/mean/top1")
    headings = (Column(name, overflow="fold") for name in ("task", "method", "winner", *columns))
    table = Table(*headings, box=None, header_style="bold")
    shown = {task: break_label(label, 64) for task, label in labels(s.task for s in protocol.studies).items()}
    for study in protocol.studies:
        cells = [c for c in protocol.progress(study).confirm_cells if c.id in protocol.done]
        if not cells:
            table.add_row(shown[study.task], _method_label(study), *("-" for _ in range(4)))
            continue
        metrics = [protocol.done[c.id] for c in cells]
        means = [_mean_percent(metrics, name) for name in columns]
        chosen = ", ".join(_chosen(study, name, value) for name, value in cells[0].hyperparameters.items())
        table.add_row(shown[study.task], _method_label(study), chosen, *means)
    return table


def _chosen(study: Study, name: str, value: float) -> str:
    """A winning value, marked where it lies at the edge of its range."""
    limits = study.space.get(name)
    return f"{name} {value:.2g}" + (" (edge)" if limits and at_edge(value, limits.low, limits.high) else "")


def _mean_percent(metrics: Sequence[Mapping[str, float]], name: str) -> str:
    """The mean of a metric in %, or "-" where it was not measured on every cell."""
    values = [found[name] for found in metrics if name in found]
    return f"{100 * sum(values) / len(values):.1f}" if len(values) == len(metrics) else "-"


def _method_label(study: Study) -> str:
    """The method, and which search it is where there are several."""
    return f"{study.method.name}, search {study.search}" if study.recipe.searches > 1 else study.method.name
