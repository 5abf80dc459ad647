"""What the commands print for people: nothing is cut off, and what a row does not have is a dash."""

from __future__ import annotations

import re

import pytest

from carft_cli.console import out, print_stacked, rows_table
from tests.support.helpers import run_cli

ID = "0123456789abcdef"
LONG = "folder:/data/pictures/of/animals?id=photo&ood=scan,sketch"


def shown(rows: list[dict[str, object]], width: int) -> str:
    before = out._width
    out.width = width
    try:
        with out.capture() as captured:
            out.print(rows_table(rows))
    finally:
        out._width = before
    return captured.get()


@pytest.mark.parametrize("width", [60, 80, 200])
def test_a_narrow_terminal_breaks_long_names_and_leaves_ids_whole(width: int) -> None:
    text = shown([{"cell": ID, "task": LONG, "method": "car_ft", "note": "some words " * 9}], width)
    assert ID in text
    assert "…" not in text
    assert max(map(len, text.splitlines())) <= width
    letters = re.sub(r"\s", "", text)
    assert all(letter in letters for letter in LONG)
    assert len(letters) == len("celltaskmethodnote" + ID + LONG + "car_ft" + "somewords" * 9)


def test_rows_with_different_columns_stay_under_their_headings() -> None:
    rows = [{"task": "cifar10", "test": 0.5}, {"task": "pacs", "ood": 0.25, "test": None}]
    heading, *lines = (line.split() for line in shown(rows, 80).splitlines())
    assert heading == ["task", "test", "ood"]
    assert lines == [["cifar10", "0.5", "-"], ["pacs", "-", "0.25"]]


def test_stacked_fields_keep_ids_reasons_and_paths_whole() -> None:
    row = {
        "cell": ID,
        "what": f"search of ft on {LONG}",
        "reason": "some words " * 9,
        "attempt": 2,
        "log": f"/logs/{ID}",
    }
    before, out.width = out._width, 40
    try:
        with out.capture() as captured:
            print_stacked([row, {**row, "reason": ""}], ("cell", "what"))
    finally:
        out._width = before
    lines = captured.get().splitlines()
    assert lines[0] == lines[4] == f"{ID}  search of ft on {LONG}"
    assert lines[1].rstrip() == f"  reason: {'some words ' * 9}".rstrip()
    assert [line.strip() for line in lines[2:4]] == ["attempt: 2", f"log: /logs/{ID}"]
    assert not any("reason" in line for line in lines[4:])


def test_a_path_with_brackets_is_shown_as_it_is() -> None:
    path = "/data/[old]/[/red]photos"
    refused = run_cli("train", "--task", f"folder:{path}", "--method", "ft", "--lr", "1e-4")
    assert refused.returncode == 2
    assert f"'{path}'" in refused.stderr
    assert path in shown([{"task": path}], 80)
