"""The published audit: its archive holds, its report is that of the archive, and texts quote what it says."""

from __future__ import annotations

import hashlib
import math
import re
import zipfile
from pathlib import Path

import pandas as pd
import pytest

from reports.quotes import differences, quotes_of
from reports.render.manifest import Manifest
from sweeps.recipes import load_recipe
from tests.support.helpers import ROOT, run_cli

AUDIT = ROOT / "audit"
ARCHIVE = AUDIT / "records.zip"
REPRODUCE = ROOT / "docs" / "reproduce.md"
QUOTING = tuple(
    ROOT / page for page in ("README.md", "docs/findings.md", "docs/findings-detail.md", "docs/paper-scale.md")
)
MOST_BYTES = 40 * 2**20


@pytest.mark.parametrize("page", QUOTING, ids=lambda page: page.name)
def test_every_quoted_number_is_that_of_the_published_report(page: Path) -> None:
    found = quotes_of(page)
    assert len(found) >= 5
    assert [f"{one.place}: {words}" for one in found for words in differences(one)] == []


def test_the_counts_of_readings_in_the_findings_are_those_of_their_table() -> None:
    found = pd.read_csv(AUDIT / "report" / "tables" / "readings.csv")
    inside, outside = (found[found["where"] == where] for where in ("ID test", "mean OOD"))
    every, text = len(inside), (ROOT / "docs" / "findings-detail.md").read_text(encoding="utf-8")
    assert (inside["effect"] < 0).sum() == every == len(outside)
    for suite in ("hands", "renditions"):
        count = (found[found["where"] == suite]["effect"] > 0).sum()
        assert re.search(rf"on \*{suite}\* in (only )?{count}\b", (ROOT / "README.md").read_text(encoding="utf-8"))
    below, ahead, above = (inside["high"] < 0).sum(), (outside["effect"] > 0).sum(), (outside["low"] > 0).sum()
    assert f"behind fine-tuning in all {every}, and the interval lies below zero in {below}." in text
    assert f"it is ahead in {ahead}, and the interval lies above zero in {above}:" in text
    short = (ROOT / "docs" / "findings.md").read_text(encoding="utf-8")
    assert f"in distribution in all {every} ({below} intervals below zero)" in short
    assert f"on the mean of the suites in {ahead} ({above} above)" in short
    recipe = load_recipe("readings")
    said, readme = recipe.expect, (ROOT / "README.md").read_text(encoding="utf-8")
    assert f"ahead on the mean of the suites in {ahead} of {every} readings ({above} intervals above zero)" in readme
    assert f"behind in all {every} ({below} intervals below zero)" in readme
    cells = pd.read_csv(AUDIT / "report" / "tables" / "cells.csv", keep_default_na=False)
    mine = cells[cells["task"] == "icons/all"]
    assert f"{len(mine)} cells" in said
    searches = len(mine[(mine["method"] == "ft") & (mine["seed"] == 0)]) // recipe.trials
    assert f"Fine-tuning was searched {searches} times" in text and f"{searches} searches of fine-tuning" in readme
    choices = recipe.readings.factors.values()
    assert f"{every} of {math.prod(1 + len(values) for values in choices)} combinations" in text
    plain = ~mine["command"].str.contains("--crop")
    random = mine[(mine["reading"] == "class_head random") & (mine["seed"] == 0) & plain]
    reached = [sorted(100 * pd.to_numeric(random[random["method"] == m]["val_top1"])) for m in ("car_ft", "ft")]
    (least, most), (low, high) = reached
    assert f"reach {most:.0f} and {least:.0f} % on validation, those of fine-tuning with" in text
    assert f"random head {low:.0f} and {high:.0f} %" in text
    assert f"in all {every}, and ahead on the mean of the suites in {ahead}." in " ".join(said.split())


def test_the_recipe_of_held_out_domains_expects_what_is_on_record() -> None:
    claims = pd.read_csv(AUDIT / "report" / "tables" / "claims.csv").set_index(["claim", "scope"])
    found = claims.loc[("C6b", "icons/domains")]
    said = f"C6b {found['verdict']}, CAR-FT {abs(100 * found['effect']):.1f} points behind"
    assert said in " ".join(load_recipe("miniature-domains").expect.split())


def test_what_the_findings_count_among_confirm_cells_is_what_their_table_holds() -> None:
    text = (ROOT / "docs" / "findings-detail.md").read_text(encoding="utf-8")
    cells = pd.read_csv(AUDIT / "report" / "tables" / "confirmed.csv")
    nine = cells[cells["scope"] == "icons-full"]
    by_search = 100 * nine[nine["method"] == "ft"].groupby("search")["ood_mean"].mean()
    assert by_search.idxmin() == 1
    assert f": {by_search[1]:.1f} % out of distribution where the mean is {by_search.mean():.1f} %, " in text
    first = 100 * nine[nine["method"] == "ft"].groupby("search")[["test_top1", "context_top1"]].mean()
    assert first.idxmin().tolist() == [1, 1]
    (inside, context), means = first.loc[1], first.mean()
    assert f"{inside:.1f} % in distribution ({means.iloc[0]:.1f} %), and {context:.1f} % of contexts" in text
    ours, plain = (nine[nine["method"] == method] for method in ("car_ft", "ft"))
    small, middle, large = (_by_rate(ours, *limits) for limits in RATES)
    low = ours[(ours["lr"] < 5e-4) & (ours["kl_weight"] < 1)]
    assert f"below 5e-4 recognise {small[0]:.1f} % of contexts ({small[1]} confirm cells; " in text
    assert f"{100 * low['context_top1'].mean():.1f} % in the {len(low)} with a KL weight below 1)" in text
    assert (
        f"5e-4 to 1e-3 {middle[0]:.1f} % ({middle[1]} cells), and those above {large[0]:.1f} % ({large[1]} cells)"
        in text
    )
    shares = [_by_rate(plain, *limits)[0] for limits in RATES]
    assert "Those of plain fine-tuning recognise {:.1f}, {:.1f} and {:.1f} %.".format(*shares) in text
    rates = [10_000 * part.groupby(["task", "search"])["lr"].first().median() for part in (ours, plain)]
    assert "(median {:.1f}e-4, fine-tuning {:.1f}e-4)".format(*rates) in text
    median = ours.groupby(["task", "search"])["kl_weight"].first().median()
    assert f"(2.4, where the median of the nine tasks is {median:.2f})" in text


#: learning rates of winners, low to high
RATES = ((0, 5e-4), (5e-4, 1e-3), (1e-3, 1))


def _by_rate(cells: pd.DataFrame, low: float, high: float) -> tuple[float, int]:
    """Context recognition in %, and the number of cells, of those with a learning rate in [low, high)."""
    chosen = cells[(cells["lr"] >= low) & (cells["lr"] < high)]
    return 100 * chosen["context_top1"].mean(), len(chosen)


def test_what_the_findings_count_among_winners_is_what_the_table_of_trials_holds() -> None:
    text = (ROOT / "docs" / "findings-detail.md").read_text(encoding="utf-8")
    trials = pd.read_csv(AUDIT / "report" / "tables" / "trials.csv", keep_default_na=False)
    winners = trials[(trials["scope"] == "icons-full") & (trials["won"].astype(str) == "True")]

    def at_edge(method: str, name: str) -> str:
        mine = winners[winners["method"] == method]["at_edge"]
        return f"{sum(name in edges.split(', ') for edges in mine)} of {len(mine)}"

    assert f"{at_edge('car_ft', 'kl_weight')} winners of CAR-FT have a KL weight in the lowest tenth" in text
    short = (ROOT / "docs" / "findings.md").read_text(encoding="utf-8")
    assert f"{at_edge('car_ft', 'kl_weight')} winners of CAR-FT lie at the low end of the KL weight" in short
    assert f"{at_edge('ft', 'lr')} of fine-tuning lie at an end of the learning rate" in text
    assert (
        f"the permuted control ({at_edge('car_ft_permuted', 'kl_weight')}) and of KD ({at_edge('kd', 'kl_weight')})"
        in text
    )
    assert f"the energy weight of Lipsum-FT ({at_edge('lipsum_ft', 'energy_weight')})" in text


def test_the_unpacked_report_is_that_of_the_archive() -> None:
    with zipfile.ZipFile(ARCHIVE) as archive:
        inside = {name: archive.read(name) for name in archive.namelist() if name.startswith("report/")}
    unpacked = {f"report/{p.relative_to(AUDIT / 'report').as_posix()}": p for p in (AUDIT / "report").rglob("*")}
    unpacked = {name: path for name, path in unpacked.items() if path.is_file()}
    assert set(inside) == set(unpacked)
    assert [name for name, content in inside.items() if content != unpacked[name].read_bytes()] == []


def test_the_archive_is_small_and_its_fingerprint_is_the_one_that_is_published() -> None:
    assert ARCHIVE.stat().st_size <= MOST_BYTES
    assert f"`{Manifest.read(AUDIT / 'report').fingerprint}`" in REPRODUCE.read_text(encoding="utf-8")


def test_the_digests_to_expect_are_those_of_the_files() -> None:
    rows = re.findall(r"^\| `(carft/\S+)` \| `([0-9a-f]{64})` \|$", REPRODUCE.read_text(encoding="utf-8"), re.MULTILINE)
    assert len(rows) == 3
    assert [name for name, digest in rows if hashlib.sha256((ROOT / name).read_bytes()).hexdigest() != digest] == []


@pytest.mark.full
def test_the_archive_verifies() -> None:
    said = run_cli("report", "verify", ARCHIVE, "--allow-other-code")
    assert said.returncode == 0, said.stdout
    assert "Every number holds." in said.stdout
