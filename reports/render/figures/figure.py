"""What a figure is, and how the figures of a report are drawn: as PNG and as SVG.

To add a figure, write a function that draws it below :func:`report_figure` in a module of this package.
"""

import hashlib
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from carft.core.source import declared
from reports.render.figures.style import Tables, label_log_axis
from reports.render.tables.table import table_card

#: dots per inch of a PNG
DPI = 150
#: sections of the page that have figures, in order; "opening" is beside the answer
SECTIONS = ("opening", "contexts", "accuracy", "tuning")


@dataclass(frozen=True)
class ReportFigure:
    """A figure of the report: its words, its place on the page, and how it is drawn from the tables of one scope."""

    name: str
    """Name of its files without ending."""
    title: str
    """Heading on the page."""
    caption: str
    """What it shows, and what it cannot show."""
    section: str
    """The section of the page that has it, one of ``SECTIONS``."""
    topic: str
    """A few words for the list of the figures of its section."""
    needs: Sequence[str]
    """Tables without which it is not drawn."""
    draw: Callable[[Tables], Figure | None]
    """The function that draws it; None where the tables hold too little."""
    draw_narrow: Callable[[Tables], Figure] | None = None
    """The function that draws it for a phone; None where the page shows the same figure there."""


def report_figure(**settings: Any) -> Callable[[Callable[[Tables], Figure | None]], ReportFigure]:
    """Declare the function below as a figure of its name. settings: further fields of :class:`ReportFigure`."""
    return lambda draw: ReportFigure(draw.__name__, draw=draw, **settings)


@dataclass(frozen=True)
class DrawnFigure:
    """A figure on disk."""

    figure: ReportFigure
    name: str
    """Name of its files without ending; that of a second or later scope ends with the scope."""
    title: str
    """Heading on the page."""
    png: Path
    svg: Path
    narrow: Path | None = None
    """SVG for a phone; None where there is none of its own."""

    @property
    def paths(self) -> list[Path]:
        """Its files."""
        return [path for path in (self.png, self.svg, self.narrow) if path is not None]

    @property
    def alt(self) -> str:
        """Text alternative of the image: where its numbers are, a table of the page or a file."""
        places = [name if table_card(name).on_page else f"tables/{name}.csv" for name in self.figure.needs]
        return f"{self.title}; the same in numbers: {', '.join(places)}"


@cache
def figures() -> dict[str, ReportFigure]:
    """Name -> figure, of every one in the modules of this package, by section and then as in its file."""
    by_section = sorted(
        declared("reports.render.figures", ReportFigure), key=lambda figure: SECTIONS.index(figure.section)
    )
    return {figure.name: figure for figure in by_section}


def draw_figures(tables: Tables, scale: str, folder: Path) -> list[DrawnFigure]:
    """Draw every figure whose tables have rows, one for each scope, and write it to a folder.

    scale: of a report on which no task was evaluated.
    """
    folder.mkdir(parents=True, exist_ok=True)
    drawn: list[DrawnFigure] = []
    for figure, (scope, scope_scale, of_scope) in product(figures().values(), _by_scope(tables, scale)):
        if any(of_scope[name].empty for name in figure.needs):
            continue
        drawing = figure.draw(of_scope)
        if drawing is None:
            continue
        name, title = figure.name, figure.title
        if scope:
            ending = re.sub("[^a-z0-9]+", "-", scope.lower()).strip("-")
            name, title = f"{name}-{ending}", f"{title} ({scope})"
            if any(other.name == name for other in drawn):  # of a scope whose other letters have no place in it
                name = f"{name}-{hashlib.sha256(scope.encode()).hexdigest()[:8]}"
        png, svg, narrow = folder / f"{name}.png", folder / f"{name}.svg", None
        _write(drawing, scope_scale, png, svg)
        if figure.draw_narrow is not None:
            narrow = folder / f"{name}-narrow.svg"
            _write(figure.draw_narrow(of_scope), scope_scale, narrow)
        drawn.append(DrawnFigure(figure, name, title, png, svg, narrow))
    return drawn


def _write(drawing: Figure, scale: str, *paths: Path) -> None:
    """Write a figure to files, PNG or SVG by their endings, and close it."""
    drawing.get_layout_engine().set(rect=(0, 0, 0.98, 1))  # type: ignore[union-attr,call-arg]
    drawing.text(0.998, 0.5, f"scale: {scale}", ha="right", va="center", rotation=90, fontsize=7, color="#555555")
    for axes in drawing.axes:
        for axis in (axes.xaxis, axes.yaxis):
            if axis.get_scale() == "log":
                label_log_axis(axis)
    drawing.set_dpi(DPI)  # widths of texts depend on it, and a layout for another one cuts labels
    drawing.draw_without_rendering()
    drawing.set_layout_engine("none")  # laid out once, and not again for each file
    for path in paths:
        unstated = "Software" if path.suffix == ".png" else "Date"
        drawing.savefig(path, dpi=DPI, metadata={unstated: None})
    plt.close(drawing)


def _by_scope(tables: Tables, scale: str) -> Iterator[tuple[str, str, Tables]]:
    """(scope, its scale, tables of that scope alone). The name of the first scope is empty."""
    if tables["tasks"].empty:
        yield "", scale, tables
        return
    scopes = tables["tasks"].groupby("scope", sort=False)["scale"].first()
    for place, (scope, scope_scale) in enumerate(scopes.items()):
        of_scope = Tables(tables, tables.methods)
        for name, table in tables.items():
            if "scope" in table:
                of_scope[name] = table[table["scope"] == scope]
        yield ("" if place == 0 else str(scope)), str(scope_scale), of_scope
