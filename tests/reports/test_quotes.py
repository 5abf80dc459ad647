"""Numbers in a text that link to tables of a report: those that hold, and every way in which one does not."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote

import pandas as pd
import pytest

from carft.store.records import Store
from reports.build import sources_of, write_tables
from reports.quotes import differences, quotes_of
from reports.tables.table import rows_of, table_cards
from tests.support.helpers import run_cli
from tests.support.planted import QUICK, plant

pytestmark = pytest.mark.usefixtures("few_figures")


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder ``tables`` of a report on planted records."""
    root = tmp_path_factory.mktemp("quotes")
    plant(Store(root / "results"), ["icons/tools", "icons/transport"], QUICK)
    write_tables(sources_of(Store(root / "results")), root / "report" / "tables")
    return root / "report" / "tables"


def wrong(tables: Path, text: str) -> list[str]:
    """What is wrong with the quotes of a text that lies beside the report."""
    source = tables.parents[1] / "text.md"
    source.write_text(text, encoding="utf-8")
    found = quotes_of(source)
    assert found
    return [words for one in found for words in differences(one)]


def test_every_number_can_be_quoted_and_none_changed(tables: Path) -> None:
    for name in ("claims", "levels", "tasks"):
        card, table = table_cards()[name], pd.read_csv(tables / f"{name}.csv")
        numeric = [c for c in table.select_dtypes("number") if c not in card.keys and table[c].notna().any()]
        row = rows_of(table[table[numeric[0]].notna()])[0]
        key = quote(card.key({k: "" if pd.isna(v) else v for k, v in row.items()}))
        for column in (c for c in numeric if not pd.isna(row[c])):
            scale = 100 if card.format(column) != "general" and row.get("unit", "points") == "points" else 1
            address = f"report/tables/{name}.csv#{key}.{quote(column)}"
            for shift, holds in ((0.0, True), (0.15, False), (-0.15, False)):
                said = f"{scale * float(row[column]) + shift:.1f}".replace("-", "−")
                assert (wrong(tables, f"It is [{said}]({address}).") == []) is holds, (address, said)


def test_several_columns_words_and_links_to_nothing(tables: Path) -> None:
    table = pd.read_csv(tables / "claims.csv").set_index("claim").loc["C3"]
    numbers = [f"{100 * table[name]:+.1f}" for name in ("effect", "low", "high")]
    link = "report/tables/claims.csv#C3.verdict,effect,low,high"
    good = f"[{table['verdict'].capitalize()}: {numbers[0]} ({numbers[1]} to\n{numbers[2]})]({link})"
    assert wrong(tables, good) == []
    assert wrong(tables, good.replace(table["verdict"].capitalize(), "X")) == [f"verdict is '{table['verdict']}'"]
    for text, words in (
        (f"[{table['verdict']}: {numbers[0]}]({link})", "it has 1 numbers for 3 columns"),
        ("[1](report/tables/claims.csv#C99.effect)", "no row 'C99'"),
        ("[1](report/tables/claims.csv#C3.effects)", "no column 'effects'"),
        ("[1](report/tables/nothing.csv#C3.effect)", "no table"),
        ("[1](elsewhere/tables/claims.csv#C3.effect)", "no table"),
    ):
        assert [words in found for found in wrong(tables, text)] == [True]


def test_the_command_names_file_and_line_and_its_exit_code_counts(tables: Path) -> None:
    text = tables.parents[1] / "paper.md"
    text.write_text("\n\n[77.7 points](report/tables/claims.csv#C3.effect)\n", encoding="utf-8")
    asked = run_cli("report", "quotes", text)
    assert asked.returncode == 1 and f"{text}:3: '77.7 points': effect is" in asked.stdout.replace("\n", "")
    text.write_text("`[1](report/tables/claims.csv#C3.effect)` is code\n", encoding="utf-8")
    asked = run_cli("report", "quotes", text)
    assert asked.returncode == 0 and "0 quotes" in asked.stdout
    assert run_cli("report", "quotes", tables / "missing.md").returncode == 2


def test_numbers_are_written_into_a_text_in_its_notation(tables: Path) -> None:
    text, link = tables.parents[1] / "old.md", "report/tables/claims.csv#C3"
    right = pd.read_csv(tables / "claims.csv").set_index("claim").loc["C3"]
    code = "`[1](report/tables/claims.csv#C3.effect)`, [2](report/tables/claims.csv#C99.effect), [77](elsewhere.md)"
    text.write_text(
        f"{code} [{right['verdict']} −77.7\n(−88.88 to +99)]({link}.verdict,effect,low,high), [0]({link}.n_groups)",
        encoding="utf-8",
    )
    assert run_cli("report", "quotes", text, "--write").returncode == 1  # C99 stays
    low, high = f"{100 * right['low']:+.2f}".replace("-", "−"), f"{100 * right['high']:+.0f}".replace("-", "−")
    assert text.read_text(encoding="utf-8") == (
        f"{code} [{right['verdict']} {100 * right['effect']:+.1f}\n({low} to {high})]({link}.verdict,effect,low,high), "
        f"[{right['n_groups']:.0f}]({link}.n_groups)"
    )
