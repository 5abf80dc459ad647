"""Where commands print, and how."""

import json
import math
import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.text import Text

from carft.core.errors import PROGRAM, UserError, typed

#: columns of what is no terminal
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
    words = [word for word in sys.argv[1:] if word not in without]
    if command:
        words[:1] = [command]
    if more and more not in words:
        words.append(more)
    return typed(*words)


def visible(text: str) -> str:
    """Return a text in which every character that a terminal obeys or does not show is its escape, such as \\u001b."""
    if text.isprintable():
        return text
    shown = ""
    for char in text:
        shown += char if char.isprintable() or char in "\t\n" else f"\\u{ord(char):04x}"
    return shown


class NamingConsole(Console):
    """A console whose messages name the program as it was called, and which is wide where it is no terminal.

    It prints no control character of a text, wherever the text comes from.
    """

    def __init__(self, **settings: Any) -> None:
        super().__init__(markup=False, **settings)  # a path with [brackets] in it is shown as it is
        if self._width is None and not self.file.isatty():  # nor does COLUMNS say the width
            self.width = WIDE

    def print(self, *objects: Any, **settings: Any) -> None:
        """Print as rich does."""
        shown = []
        for one in objects:
            if isinstance(one, str):
                one = visible(one.replace(PROGRAM, program()))
            shown.append(one)
        super().print(*shown, **settings)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterator[Segment]:
        """Render as rich does, with :func:`visible` text. Control codes of rich itself, as of a progress bar, pass.

        Texts that are wrapped or aligned are made visible before, so that their width is known.
        """
        for segment in super().render(renderable, options):
            if not segment.control:
                segment = segment._replace(text=visible(segment.text))
            yield segment

    def say(self, text: str | Text, style: str | None = None) -> None:
        """Print text as one line, however long, without colours for the numbers and paths in it."""
        self.print(text, style=style, soft_wrap=True, highlight=False)


out = NamingConsole()
err = NamingConsole(stderr=True)


def print_json(value: Any) -> None:
    """JSON alone on stdout; a path is a string."""
    sys.stdout.write(json.dumps(value, indent=1, allow_nan=False, default=os.fspath) + "\n")


def cell_text(value: Any) -> str:
    """A value of a table in a few characters; a dash for none."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "-"
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, Mapping):
        value = [f"{name} {cell_text(part)}" for name, part in value.items()]
    if isinstance(value, list | tuple):
        value = ", ".join(map(str, value))
    return visible(str(value))


def split(text: str | None) -> list[str] | None:
    """Comma-separated names, each once; None where the option was not given, ``UserError`` where it names nothing."""
    if text is None:
        return None
    names: list[str] = []
    for part in text.split(","):
        name = part.strip()
        if name and name not in names:
            names.append(name)
    if not names:
        raise UserError(f"'{text}' names nothing.", "Leave the option out, or name at least one.")
    return names


def headed(head: str, rest: str, style: str = "bold") -> Text:
    """A line that begins with a word in a style."""
    return Text.assemble((head, style), visible(rest.replace(PROGRAM, program())))


def counted(count: int, what: str) -> str:
    """A number of things in words: 1 cell, 2 cells."""
    if count != 1:
        what += "s"
    return f"{count:,} {what}"
