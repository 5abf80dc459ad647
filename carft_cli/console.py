"""Where commands print, and how."""

from __future__ import annotations

import json
import math
import os
import re
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

from rich.console import Console, ConsoleDimensions
from rich.table import Column, Table
from rich.text import Text

from carft.core.commands import PROGRAM, typed
from carft.core.errors import UserError

#: columns of what is no terminal, where the environment variable COLUMNS does not say
WIDE = 160

#: how the program is called where it is installed as a package
INSTALLED = "carft"


def program() -> str:
    """How this process was called."""
    return INSTALLED if Path(sys.argv[0]).stem == INSTALLED else PROGRAM


def typed_again(*without: str, more: str = "", command: str = "") -> str:
    """The command of this process again.

    without: switches to leave out. more: a switch to add. command: another command in place of this one, with the same
    options.
    """
    kept = [word for word in sys.argv[1:] if word not in without]
    return typed(*([command, *kept[1:]] if command else kept), *([more] if more and more not in kept else []))


class NamingConsole(Console):
    """A console whose messages name the program as it was called, and which is wide where it is no terminal."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(markup=False, **settings)  # a path with [brackets] in it is shown as it is
        self._width = None  # rich keeps the COLUMNS of the moment when the module was imported

    @property  # type: ignore[misc]  # rich's setter is never used
    def size(self) -> ConsoleDimensions:
        """Columns and rows, measured at every call."""
        measured = super().size
        if self._width is None and not self.file.isatty() and not os.environ.get("COLUMNS", "").isdigit():
            return ConsoleDimensions(WIDE, measured.height)
        return measured

    def print(self, *objects: Any, **settings: Any) -> None:
        """Print as rich does."""
        super().print(*(o.replace(PROGRAM, program()) if isinstance(o, str) else o for o in objects), **settings)

    def say(self, text: str | Text, style: str | None = None) -> None:
        """Print text as one line, however long, without colours for the numbers and paths in it."""
        self.print(text, style=style, soft_wrap=True, highlight=False)


out = NamingConsole()
err = NamingConsole(stderr=True)


@contextmanager
def printing_to(people: TextIO) -> Iterator[None]:
    """Within the block, ``err`` prints there, whatever becomes of standard error."""
    before = err._file
    err.file = people
    try:
        yield
    finally:
        err._file = before


#: rows that a table is laid out for
LAID_OUT = 500
#: columns of ids and short words, which stay on one line
WHOLE = ("cell", "study", "winner", "verdict")
#: the column of names of tasks, its least width where they are broken, and the spaces between two columns
TASK, NARROW, GAP = "task", 16, 2


def print_json(value: Any) -> None:
    """JSON alone on stdout."""
    sys.stdout.write(json.dumps(value, indent=1, allow_nan=False) + "\n")


def new_table(*headings: str) -> Table:
    """An empty table for people. What does not fit into a narrow terminal goes on in the next line; nothing is cut."""
    return Table(*(Column(name, overflow="fold", no_wrap=name in WHOLE) for name in headings), box=None)


def rows_table(rows: Sequence[Mapping[str, Any]], empty: str = "nothing") -> Table:
    """Rows of plain values as a table for people; a dash for what a row does not have."""
    headings = list(dict.fromkeys(name for row in rows for name in row)) or [empty]
    table = new_table(*headings)
    columns = {name: [cell_text(row.get(name)) for row in rows] for name in headings}
    if TASK in columns and len(columns) > 1:
        columns[TASK] = _break_names(columns)
    for values in zip(*columns.values(), strict=True):
        table.add_row(*values)
    return table


def _break_names(columns: Mapping[str, Sequence[str]]) -> list[str]:
    """Names of tasks in lines that fit beside the other columns of a table."""
    others = sum(max(map(len, [name, *texts])) + GAP for name, texts in columns.items() if name != TASK)
    return [break_name(text, others + GAP) for text in columns[TASK]]


def break_name(name: str, others: int) -> str:
    """A name in lines that are broken after ``/``, ``-``, ``_`` or a blank, for a column of a table.

    others: columns of the terminal that the rest of the table needs. Where that leaves too few, the name stays whole.
    """
    if (width := shutil.get_terminal_size().columns - others) < NARROW:
        return name
    lines = [""]
    for piece in re.split("(?<=[/_ -])", name):
        if lines[-1] and len(lines[-1]) + len(piece) > width:
            lines.append("")
        lines[-1] += piece
    return "\n".join(lines)


def print_stacked(rows: Sequence[Mapping[str, Any]], head: Sequence[str]) -> None:
    """Rows of plain values with a line for each field, for long reasons and paths; the fields of ``head`` go first."""
    for row in rows:
        out.say("  ".join(cell_text(row[name]) for name in head), style="bold")
        for name, value in row.items():
            if name not in head and value not in (None, ""):
                out.say(f"  {name}: {cell_text(value)}")


def print_rows(rows: Sequence[Mapping[str, Any]], empty: str = "nothing") -> None:
    """Rows of plain values for people; thousands of them as plain lines, which rich would take seconds to lay out."""
    if len(rows) <= LAID_OUT:
        out.print(rows_table(rows, empty))
        return
    lines = [list(rows[0]), *([cell_text(value) for value in row.values()] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        out.file.write("  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip() + "\n")


def cell_text(value: Any) -> str:
    """A value of a table in a few characters; a dash for none."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "-"
    if isinstance(value, float):
        return f"{value:.4g}"
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def split(text: str | None) -> list[str] | None:
    """Comma-separated names, each once; None where the option was not given, ``UserError`` where it names nothing."""
    if text is None:
        return None
    names = list(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))
    if not names:
        raise UserError(f"'{text}' names nothing.", "Leave the option out, or name at least one.")
    return names


def headed(head: str, rest: str, style: str = "bold") -> Text:
    """A line that begins with a word in a style."""
    return Text.assemble((head, style), rest.replace(PROGRAM, program()))


def counted(count: int, what: str) -> str:
    """A number of things in words: 1 cell, 2 cells."""
    return f"{count:,} {what}" if count == 1 else f"{count:,} {what}s"


def percent(value: float | None) -> str:
    """A share of 1 in per cent with one decimal; a dash for none."""
    return "-" if value is None else f"{100 * value:.1f}"


def metrics_table(metrics: Mapping[str, float]) -> Table:
    """Metrics by name."""
    return rows_table([{"metric": name, "value": f"{value:.4f}"} for name, value in metrics.items()])
