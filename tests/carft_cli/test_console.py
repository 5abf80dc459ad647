"""What is printed to a terminal: text of strangers is shown, and never obeyed."""

from __future__ import annotations

import io
import re
from pathlib import Path

import pytest
from rich.text import Text

from carft_cli.console import NamingConsole, headed
from tests.support.folder import draw_pets, write_tasks
from tests.support.helpers import run_cli

#: title of the window, colours and links, C1's introducer, a reversed name, backspaces, half a character, rich's markup
EVIL = "x\x1b]0;owned\x07\x1b[2J\x9b31m\u202egnp.exe\u2069\u200f\x7f\ud800[bold]b[/bold][link=file:///etc]l[/link]\x1b]8;;u\x1b\\"
#: what a terminal may be sent: colours of rich, and visible text
COLOURS = re.compile(r"\x1b\[[\d;]*m")


def obeyed(printed: str) -> set[str]:
    """The characters that a terminal obeys or hides, without rich's own colours."""
    return {char for char in COLOURS.sub("", printed) if not char.isprintable() and char not in "\t\n"}


def test_whatever_is_printed_is_shown_and_not_obeyed() -> None:
    file = io.StringIO()
    console = NamingConsole(file=file, force_terminal=True, width=2000, color_system="truecolor")
    console.print(EVIL)
    console.print(Text(EVIL), style="dim")
    console.say(EVIL, style="bold")
    console.say(headed("Refused:", EVIL))
    console.print_json(data={EVIL: EVIL})
    printed = file.getvalue()
    assert not obeyed(printed)
    plain = COLOURS.sub("", printed)
    assert plain.count("[bold]b[/bold]") == 6 and plain.count(r"\u001b[2J\u009b31m\u202egnp.exe\u2069") == 6
    assert "]8;;" not in printed.replace(r"\u001b]8;;", "")


@pytest.mark.parametrize("name", ["a\x1b]0;owned\x07.jpg", "a\u202egpj.png", "a\x9b2J.png"])
def test_a_file_name_is_shown_and_not_obeyed(tmp_path: Path, name: str) -> None:
    victim = draw_pets(tmp_path) / "photo" / "cat" / name
    victim.write_bytes(b"no image")
    write_tasks(tmp_path, {"name": "zoo", "path": "pets"})
    done = run_cli("data", "check", "zoo", "--tasks-file", tmp_path)
    assert done.returncode == 1 and "cannot be read" in done.stdout
    assert not obeyed(done.stdout + done.stderr)
