"""The published audit: texts quote what its tables say. tests/reports/render/test_published_page.py has its report."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pandas as pd
import pytest

from carft.catalog.catalog import Catalog
from carft.catalog.families import CARDS
from tests.support.folder import Folder
from tests.support.helpers import ROOT
from tests.support.quotes import differences, quotes_of

AUDIT = ROOT / "audit"
#: archive -> bytes that it may have
ARCHIVES = {
    AUDIT / "records.zip": 20 * 2**20,
    AUDIT / "photographs" / "records.zip": 6 * 10**6,
    AUDIT / "strength" / "records.zip": 15 * 10**6,
    AUDIT / "strength" / "seed-1" / "records.zip": 3 * 10**6,
    AUDIT / "strength" / "seed-2" / "records.zip": 3 * 10**6,
    AUDIT / "strength" / "photographs" / "records.zip": 10**6,
    AUDIT / "strength" / "heads" / "records.zip": 4 * 10**6,
}
QUOTING = tuple(
    ROOT / page
    for page in (
        "README.md",
        "audit/README.md",
        "docs/findings.md",
        "docs/findings-detail.md",
        "examples/photographs/README.md",
    )
)


def rows_of(table: str) -> pd.DataFrame:
    """The rows of a table on the tasks that decide the answer."""
    rows = pd.read_csv(AUDIT / "tables" / f"{table}.csv")
    return rows[rows["scope"] == "icons-3-full"]


@pytest.mark.parametrize("page", QUOTING, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_quoted_number_is_that_of_the_published_report(page: Path) -> None:
    found = quotes_of(page)
    assert len(found) >= 5
    assert [f"{one.place}: {words}" for one in found for words in differences(one)] == []


def test_counts_in_the_findings_are_those_of_their_tables() -> None:
    cells = rows_of("confirmed")
    means = 100 * cells.groupby(["method", "search"])[["test_top1", "ood_mean"]].mean()
    detail = (ROOT / "docs" / "findings-detail.md").read_text(encoding="utf-8")
    for method in ("car_ft", "car_ft_random"):
        for column in means:
            gaps = (f"{gap:+.1f}".replace("-", "−") for gap in means.loc[method, column] - means.loc["ft", column])
            assert f"|{'|'.join(gaps)}|" in detail
    trials = rows_of("trials")
    fast = trials[(trials["won"].astype(str) == "True") & (trials["lr"] > 1e-3)].groupby("method").size()
    words = (
        f"{fast['ft']} of FT, {fast['car_ft']} of CAR-FT and {fast['car_ft_random']} of random vectors lie above 1e-3"
    )
    assert words in detail


def test_what_the_findings_say_of_all_settings_and_of_independent_tasks_is_in_the_tables() -> None:
    pages = ("findings.md", "findings-detail.md")
    findings = "".join((ROOT / "docs" / page).read_text(encoding="utf-8") for page in pages)
    equal = rows_of("equal_settings").set_index(["contrast", "where"]).sort_index()
    everywhere = equal[equal["n_tasks"] == 9]
    ours = everywhere.loc[("CAR-FT - FT", "mean OOD")]
    vectors = everywhere.loc[("CAR-FT, random - FT", "mean OOD")]
    control = everywhere.loc[("CAR-FT - CAR-FT, random", "mean OOD")]

    def counts(rows: pd.DataFrame) -> tuple[int, str, int, int]:
        ahead, best = (rows["effect"] > 0).sum(), f"{100 * rows['effect'].max():.1f}"
        return ahead, best, (rows["band_low"] > 0).sum(), (rows["band_high"] < 0).sum()

    ahead, best, above, below = counts(ours)
    words = f"Over all {len(ours)} settings, out of distribution, CAR-FT is ahead of FT in {ahead}, by at most {best}"
    assert f"{words} points, with {above} simultaneous bands above 0 and {below} below." in findings
    ahead, best, above, below = counts(vectors)
    words = f"Random vectors are ahead in {ahead}, by up to {best}, with {above} bands above 0 and {below} below."
    assert len(vectors) == len(ours) and words in findings
    behind, bands = (control["effect"] < 0).sum(), (control["band_high"] < 0).sum()
    assert f"CAR-FT is behind random vectors in {behind} ({bands} bands below 0)" in findings
    inside = [everywhere.loc[(f"{name} - FT", "ID test")] for name in ("CAR-FT", "CAR-FT, random")]
    (lost, bands), (lost_too, bands_too) = [((r["effect"] < 0).sum(), (r["band_high"] < 0).sum()) for r in inside]
    words = f"In distribution CAR-FT is behind FT in {lost} ({bands} bands below 0), random vectors in {lost_too}"
    assert f"{words} ({bands_too} bands below 0)." in findings
    doses = everywhere[everywhere["lr"] == 1e-3].loc[["CAR-FT - FT", "CAR-FT, random - FT"]].groupby("kl_weight")
    seeds = doses["n_seeds"].agg(["min", "max"])
    assert f"(1 has {seeds.loc[1.0, 'min']} seeds, the others one)" in findings
    assert (seeds.drop(1.0) == 1).all(axis=None) and seeds.loc[1.0].nunique() == 1
    slow = equal[equal["lr"] <= 3e-4].loc["FT - zero-shot"]
    lost, gained = -100 * slow.loc["mean OOD", "effect"].min(), 100 * slow.loc["ID test", "effect"]
    words = f"forgets at most {lost:.1f} points, and gains {gained.min():.0f} to {gained.max():.0f} in distribution"
    assert f"Up to 3e-4 FT {words}" in findings
    means = 100 * rows_of("confirmed").groupby(["method", "search"])["ood_mean"].mean()
    gaps = means["car_ft"] - means["ft"]
    first, second = sorted(gaps.nlargest(2).index)
    assert f"without searches {first} and {second} the mean is {gaps.drop([first, second]).mean():+.1f}." in findings


def test_the_first_lines_of_the_findings_follow_from_the_tables() -> None:
    findings = (ROOT / "docs" / "findings.md").read_text(encoding="utf-8")
    levels = rows_of("levels").query("place == 'contexts'").set_index("method")["value"]
    saved = 100 * (levels - levels["ft"]) / (levels["zeroshot"] - levels["ft"])
    shares = saved[["car_ft", "car_ft_random", "wise_ft(ft) alpha 0.5"]]
    assert f"save {shares.min():.0f} to {shares.max():.0f} % of that half" in findings
    assert round(2 * levels["ft"] / levels["zeroshot"], 1) == 1 and round(4 * saved["car_ft"] / 100) == 3
    parts = rows_of("verdicts").query("claim == 'C12' and part == 'WiSE(CAR-FT) - WiSE(FT), ID, alpha 0.5'")
    wise = rows_of("claims").query("claim == 'C12'")
    moved = " to ".join(f"{100 * wise[bound].item():+.1f}".replace("-", "−") for bound in ("low", "high"))
    words = (
        f"CAR-FT moves accuracy by {moved} points out of distribution, and loses {-100 * parts['effect'].item():.1f}"
    )
    assert f"{words} in it." in findings
    tasks = Catalog()
    sizes = [tasks.sizes(task, Folder()).val for task in CARDS if task.startswith("icons-3-full/")]
    assert f"The best on {min(sizes)} to {max(sizes)} validation images" in findings


def test_what_the_findings_say_of_photographs_follows_from_their_tables() -> None:
    tables = {name: pd.read_csv(AUDIT / "photographs" / "tables" / f"{name}.csv") for name in ("levels", "verdicts")}
    levels = tables["levels"].query("place == 'contexts'").set_index("method")["value"]
    saved = 100 * (levels["car_ft"] - levels["ft"]) / (levels["zeroshot"] - levels["ft"])
    parts = tables["verdicts"].set_index(["claim", "part"])["effect"]
    lost = parts["C1", "FT - zero-shot, all suites"]
    held_out = 100 * (1 - parts["C2", "CAR-FT - zero-shot, all suites"] / lost)
    drawn = rows_of("levels").query("place == 'contexts'").set_index("method")["value"]
    of_drawings = 100 * (drawn["car_ft"] - drawn["ft"]) / (drawn["zeroshot"] - drawn["ft"])
    findings = (ROOT / "docs" / "findings.md").read_text(encoding="utf-8")
    words = f"CAR-FT keeps {of_drawings:.0f} and {saved:.0f} % of that ({held_out:.0f} on held-out domains"
    assert words in findings
    claims = pd.read_csv(AUDIT / "photographs" / "tables" / "claims.csv").set_index("claim")
    assert "at most +0.15 points" in claims.loc["C4m", "reason"] and "the gain is at most 0.15 points" in findings


def test_verdicts_by_the_registered_rule_are_kept_by_hand() -> None:
    """No code makes them any more: commit 9a36ff66 did."""
    kept = pd.read_csv(AUDIT / "registered" / "tables" / "verdicts.csv")
    assert kept["part"].str.endswith("searches as independent").all()
    by_claim = kept.groupby(["scope", "claim"])["verdict"].first()
    assert by_claim["icons-3-full", "C4m"] == "reproduced"
    for claim in ("C2", "C4m", "C12"):
        assert by_claim["photographs", claim] == "contradicted"
    for name, folder in (("icons-3-full", AUDIT), ("photographs", AUDIT / "photographs")):
        now = pd.read_csv(folder / "tables" / "verdicts.csv").query("scope == @name")
        made = now.set_index(["claim", "part"])["effect"]
        for row in kept[kept["scope"] == name].itertuples():
            assert row.effect == pytest.approx(made[row.claim, row.part.removesuffix(", searches as independent")])


def test_what_the_findings_say_of_common_rates_is_measured() -> None:
    rows = pd.read_csv(ROOT / "benchmarks" / "common_rate.csv").set_index("where")
    assert (rows["pairs"] == 54).all() and (rows["own_winner"] == 17).all()
    words = {}
    for place, row in rows.iterrows():
        effect, low, high = (f"{row[name]:+.1f}".replace("-", "−") for name in ("effect", "low", "high"))
        words[place] = f"{effect} ({low} to {high})"
    detail = (ROOT / "docs" / "findings-detail.md").read_text(encoding="utf-8")
    inside, outside = words["in distribution"], words["out of distribution"]
    contexts = words["contexts"].partition(" ")[0]
    assert f"CAR-FT − FT is {inside} in distribution, {outside} out of it, {contexts} in contexts" in detail


@pytest.mark.parametrize("path", ARCHIVES, ids=lambda path: path.parent.name)
def test_an_archive_is_small_and_holds_records_alone(path: Path) -> None:
    assert path.stat().st_size <= ARCHIVES[path]
    with zipfile.ZipFile(path) as archive:
        assert [name for name in archive.namelist() if name.startswith("report/")] == []
