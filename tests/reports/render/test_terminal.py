"""The table of claims in a terminal of 80 columns."""

from __future__ import annotations

import io

from rich.console import Console

from carft_cli.report import _claims_table
from reports.tables.table import Sources


def test_what_goes_on_in_the_next_line_keeps_its_indent(sources: Sources) -> None:
    said = Console(file=io.StringIO(), width=80, color_system=None)
    asked = [verdict for verdict in sources.verdicts if verdict.verdict != "not run"]
    said.print(_claims_table(asked))
    lines = said.file.getvalue().splitlines()
    titles = " ".join(f"{verdict.claim} {verdict.title}" for verdict in asked)
    outside = [line.split("  ")[0].strip() for line in lines[1:] if not line.startswith("   ")]
    assert max(map(len, lines)) <= 80 and outside
    assert all(words in titles for words in outside)
