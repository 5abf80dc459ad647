"""Tables as CSV files: what a spreadsheet would run is text, and numbers stay numbers."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from reports.build import write_tables
from reports.tables.table import spreadsheet_text
from tests.support.helpers import ROOT

FORMULAS = (
    "=HYPERLINK(\"http://x\",\"y\")", "+1+cmd|' /C calc'!A0", "-2+3+cmd|' /C calc'!A0", "@SUM(1)", "\t=1", "\r=1",
    "-cmd", "＝1+1", "-1-HYPERLINK(\"http://x\")", "+1 % (=A1)",
)  # fmt: skip
#: texts of tables that a spreadsheet takes for text or for a number
TEXTS = ("-", "-0.5", "+1.2e-05", "-121 % (-201 to -73 %)", "a=b", "CAR-FT - FT", "'quoted", "", "–")


@pytest.mark.parametrize("text", FORMULAS)
def test_a_formula_gets_an_apostrophe(text: str) -> None:
    assert spreadsheet_text(text) == f"'{text}"


@pytest.mark.parametrize("text", TEXTS)
def test_another_text_stays(text: str) -> None:
    assert spreadsheet_text(text) == text


def test_files_of_tables_have_text_in_place_of_formulas_and_the_same_numbers(tmp_path: Path) -> None:
    table = pd.DataFrame(
        {
            "name": FORMULAS[:3],
            "effect": [-0.5, np.nan, 1e-300],
            "count": [-1, 2, 3],
            "mixed": [-1, "=1", None],
            "won": [True, False, True],
            "=1+1": ["a", None, "-0.5"],
        }
    )
    (path,) = write_tables(SimpleNamespace(tables=lambda: {"t": table}), tmp_path)  # type: ignore[arg-type]
    read = pd.read_csv(path, dtype=str, keep_default_na=False)
    assert list(read["name"]) == [f"'{text}" for text in FORMULAS[:3]]
    assert list(read.columns) == [*table.columns[:-1], "'=1+1"]
    assert list(read["effect"]) == ["-0.5", "", "1e-300"] and list(read["count"]) == ["-1", "2", "3"]
    assert list(read["mixed"]) == ["-1", "'=1", ""] and list(read["'=1+1"]) == ["a", "", "-0.5"]
    assert list(read["won"]) == ["True", "False", "True"]


def test_no_published_table_has_a_text_that_is_changed() -> None:
    for path in (ROOT / "audit" / "tables").glob("*.csv"):
        table = pd.read_csv(path, dtype=str, keep_default_na=False)
        for text in {*table.columns, *table.to_numpy().ravel()}:
            assert spreadsheet_text(text) == text, path
