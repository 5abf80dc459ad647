"""Commands of this program as a person types them, for messages."""

from __future__ import annotations

import shlex
from pathlib import Path

#: how the program is called from a checkout
PROGRAM = "python cli.py"
#: the defaults of ``--results`` and of ``--out`` of a report
RESULTS, REPORT = "results", "report"


def typed(*words: str, results: str | Path = RESULTS, out: str | Path = REPORT) -> str:
    """A command, quoted for a shell. results, out: named where they are not the defaults."""
    folders = {"--results": (str(results), RESULTS), "--out": (str(out), REPORT)}
    named = (word for option, (folder, default) in folders.items() if folder != default for word in (option, folder))
    return f"{PROGRAM} {shlex.join([*words, *named])}"


def typed_report(results: str | Path, *subcommand: str) -> str:
    """The command that writes a report on a results folder, to a folder of its own, or a subcommand on that report."""
    place, is_url = Path(results), "://" in str(results)
    name = REPORT if place.name == RESULTS else f"{place.name}-{REPORT}"
    return typed("report", *subcommand, results=results, out=name if is_url else place.with_name(name))
