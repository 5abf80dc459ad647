"""The published audit: texts quote what its tables say. tests/reports/render/test_published_page.py has its report."""

from __future__ import annotations

import hashlib
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest

from reports.quotes import differences, quotes_of
from sweeps.recipes import load_recipe
from tests.support.helpers import ROOT

AUDIT = ROOT / "audit"
TABLES = AUDIT / "tables"
ARCHIVE = AUDIT / "records.zip"
REPRODUCE = ROOT / "docs" / "reproduce.md"
QUOTING = tuple(
    ROOT / page for page in ("README.md", "docs/findings.md", "docs/findings-detail.md", "docs/paper-scale.md")
)
MOST_BYTES = 20 * 2**20


@pytest.mark.parametrize("page", QUOTING, ids=lambda page: page.name)
def test_every_quoted_number_is_that_of_the_published_report(page: Path) -> None:
    found = quotes_of(page)
    assert len(found) >= 5
    assert [f"{one.place}: {words}" for one in found for words in differences(one)] == []


def test_recipes_expect_what_is_on_record() -> None:
    claims = pd.read_csv(TABLES / "claims.csv").set_index(["claim", "scope"])
    domains = claims.loc[("C6b", "icons/domains")]
    assert str(domains["verdict"]) in load_recipe("miniature-domains").expect
    assert f"{abs(100 * domains['effect']):.1f} points" in load_recipe("miniature-domains").expect
    readings = pd.read_csv(TABLES / "readings.csv")
    ahead = (readings[readings["where"] == "mean OOD"]["effect"] > 0).sum()
    numbers = (f"all {readings['reading'].nunique()}", f"in {ahead}.")
    assert [number for number in numbers if number not in load_recipe("readings").expect] == []


def test_counts_in_the_findings_are_those_of_their_tables() -> None:
    text = (ROOT / "docs" / "findings-detail.md").read_text(encoding="utf-8")
    assert [number for number in [*_counts_of_readings(), *_counts_of_winners()] if number not in text] == []


def _counts_of_readings() -> Iterator[str]:
    """How many readings of CAR-FT are behind in distribution and ahead out of it, and with an interval that says so."""
    readings = pd.read_csv(TABLES / "readings.csv")
    inside, outside = (readings[readings["where"] == where] for where in ("ID test", "mean OOD"))
    yield f"all {(inside['effect'] < 0).sum()}"
    yield from (f"in {count}" for count in ((inside["high"] < 0).sum(), (outside["effect"] > 0).sum()))
    yield f"above zero in {(outside['low'] > 0).sum()}"


def _counts_of_winners() -> Iterator[str]:
    """How many winners lie at an edge of their range, and context recognition by the learning rate of the winner."""
    trials = pd.read_csv(TABLES / "trials.csv", keep_default_na=False)
    winners = trials[(trials["scope"] == "icons-full") & (trials["won"].astype(str) == "True")]
    for method, name in (("car_ft", "kl_weight"), ("ft", "lr")):
        edges = winners[winners["method"] == method]["at_edge"].str.split(", ")
        yield f"{sum(name in names for names in edges)} of {len(edges)}"
    cells = pd.read_csv(TABLES / "confirmed.csv").query("scope == 'icons-full'")
    ours, plain = (cells[cells["method"] == method] for method in ("car_ft", "ft"))
    for low, high in ((0, 5e-4), (5e-4, 1e-3), (1e-3, 1)):
        chosen = ours[(ours["lr"] >= low) & (ours["lr"] < high)]
        yield f"{100 * chosen['context_top1'].mean():.1f} %"
        yield f"({len(chosen)} "
        yield f"{100 * plain[(plain['lr'] >= low) & (plain['lr'] < high)]['context_top1'].mean():.1f}"
    first = 100 * plain.groupby("search")[["test_top1", "ood_mean", "context_top1"]].mean()
    yield from (f"{mean:.1f} %" for mean in (*first.loc[1], *first.mean()))
    zeroshot = pd.read_csv(TABLES / "levels.csv").query("scope == 'icons-full' and method == 'zeroshot'")
    known = zeroshot.set_index("place")["value"]["contexts"]
    kept = 100 * (ours.groupby("search")["context_top1"].mean() - known)
    yield from (f"{kept.loc[part].mean():.1f}".replace("-", "−") for part in ([1, 2, 3], [4, 5]))


def test_the_archive_is_small_and_holds_records_alone() -> None:
    assert ARCHIVE.stat().st_size <= MOST_BYTES
    with zipfile.ZipFile(ARCHIVE) as archive:
        assert [name for name in archive.namelist() if name.startswith("report/")] == []


def test_the_digests_to_expect_are_those_of_the_files() -> None:
    rows = re.findall(r"^\| `(carft/\S+)` \| `([0-9a-f]{64})` \|$", REPRODUCE.read_text(encoding="utf-8"), re.MULTILINE)
    assert len(rows) == 3
    assert [name for name, digest in rows if hashlib.sha256((ROOT / name).read_bytes()).hexdigest() != digest] == []
