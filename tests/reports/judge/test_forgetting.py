"""What fine-tuning forgets, and contrasts at equal settings."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import scipy.stats

from carft.config.cell import Cell, Reading, Training
from carft.config.registry import METHODS
from carft.store.records import Store
from reports.judge.claims.claim import Verdict
from reports.judge.claims.verdicts import verdicts
from reports.judge.entry import CAR_FT, Entry
from reports.judge.equal_settings import MEASURES, EvaluatedCell, differences_by_setting
from reports.judge.established import ask_controls
from reports.judge.evidence import Evidence
from reports.judge.forgetting import POSITIVE, GivenBack, forgotten
from reports.read.references import NAMES, reported_gain, reported_share
from reports.render.words.verdict_words import reason_words
from tests.support.helpers import ROOT
from tests.support.planted import Plan, plant
from tests.support.reading import evidence_in, judged_of, table_of

TASKS = ["icons-3/all"]  # a scope of its own: no further task can be missing
#: out of distribution FT loses some 60 points to zero-shot, CAR-FT half of them, and L2-SP all of them
FORGETS = Plan(
    {"zeroshot": 0.8, "ft": 0.9, "car_ft": 0.9, "l2_sp": 0.9},
    {"zeroshot": 0.9, "ft": 0.6, "car_ft": 0.8, "l2_sp": 0.7},
    shift={"ft": -0.7, "car_ft": -0.4, "l2_sp": -0.7},
)
#: FT is above zero-shot out of distribution too
KEEPS = replace(FORGETS, shift={})


def evidence_of(folder: Path, *plans: Plan) -> Evidence:
    """One search for each plan."""
    for search, plan in enumerate(plans, start=1):
        plant(Store(folder), TASKS, plan, search=search, curves=True)
    return evidence_in(Store(folder))


def test_what_could_be_given_back_is_said_and_changes_no_verdict(tmp_path: Path) -> None:
    def verdict(folder: str, plan: Plan) -> Verdict:
        return {v.claim: v for v in verdicts(evidence_of(tmp_path / folder, plan))}["C4m"]

    kept, forgets = verdict("keeps", KEEPS), verdict("forgets", FORGETS)
    assert (kept.verdict, forgets.verdict) == ("inconclusive", "suggested reproduced")
    for found in (kept, forgets):
        assert "what could be given back" in reason_words(found)


def test_the_share_given_back_is_that_of_what_was_forgotten(tmp_path: Path) -> None:
    evidence = evidence_of(tmp_path, FORGETS)
    for entry, expected in ((CAR_FT, 0.5), (Entry("l2_sp"), 0.0), (POSITIVE, 1.0)):
        found = GivenBack.of(evidence, entry)
        assert found is not None and found.share.kind == "between"
        if entry is not POSITIVE:  # interpolated cells are planted without the shift of their parents
            assert found.share.low < expected < found.share.high
        assert found.share.value == pytest.approx(found.gained.estimate.effect / found.forgotten.estimate.effect)
    table = table_of(judged_of(Store(tmp_path)), "given_back").set_index("method")
    assert list(table.index) == [POSITIVE.label, "l2_sp", "car_ft"]
    assert table.loc["car_ft", "imagenet_share"] == pytest.approx(reported_share("CAR-FT"))
    kept = GivenBack.of(evidence_of(tmp_path / "kept", KEEPS), CAR_FT)
    assert kept is not None and not kept.is_defined


def test_a_share_compares_means_over_the_same_tasks(tmp_path: Path) -> None:
    """As of a method that ran on some tasks of a family, or in a sweep that is not over."""
    forgets = replace(FORGETS, top1={name: FORGETS.top1[name] for name in ("zeroshot", "ft")})
    plant(Store(tmp_path), ["icons-3/mix-7"], forgets)
    plant(Store(tmp_path), ["icons-3/mix-6"], replace(forgets, shift={"ft": -0.2}))
    plant(Store(tmp_path), ["icons-3/mix-6"], replace(FORGETS, top1={"l2_sp": 0.9}, shift={"l2_sp": -0.1}))
    evidence = evidence_in(Store(tmp_path))
    found, everywhere = GivenBack.of(evidence, Entry("l2_sp")), forgotten(evidence)
    assert everywhere is not None and len(everywhere.tasks) == 2
    assert found is not None and found.forgotten.tasks == found.gained.tasks == ("icons-3/mix-6",)


def test_controls_hold_where_they_show(tmp_path: Path) -> None:
    def answers(evidence: Evidence) -> dict[str, str]:
        return {asked.control.name: asked.answer for asked in ask_controls(evidence)}

    found = answers(evidence_of(tmp_path / "forgets", FORGETS))
    for name in ("fine-tuning gains ID", "fine-tuning forgets OOD", "WiSE-FT at alpha 0.5", "contexts are recognised"):
        assert found[name] == "holds"
    assert found["L2-SP"] == "does not hold"
    for name in ("KD", "uniform soup", "a larger learning rate forgets more"):
        assert found[name] == "not run"
    kept = answers(evidence_of(tmp_path / "keeps", KEEPS))
    assert kept["fine-tuning forgets OOD"] == "does not hold" and kept["fine-tuning gains ID"] == "holds"


def test_the_numbers_of_others_are_compared_within_one_pipeline() -> None:
    """ImageNet-V2, -R, -A and -Sketch by hand; WiSE-FT has no zero-shot beside it."""
    tuned, zero = 72.6 + 68.5 + 39.2 + 48.0, 61.98 + 76.35 + 52.00 + 46.66
    kept = 74.0 + 75.4 + 49.5 + 53.0
    assert reported_gain("CAR-FT")[0] == pytest.approx((kept - tuned) / 400)
    assert reported_share("CAR-FT") == pytest.approx((kept - tuned) / (zero - tuned))
    assert reported_gain("WiSE-FT")[0] > 0.05 and reported_share("WiSE-FT") != reported_share("WiSE-FT")
    assert all(reported_gain(name)[1] for name in NAMES.values())


#: trial 0 of every search of ``icons-full`` with ``icons-resnet`` in the first audit, and zero-shot
FIRST_TRIALS = ROOT / "tests" / "reports" / "judge" / "first_audit_trials.csv"
#: (contrast, measure) -> points, low, high; computed apart from this code, from the same records
SIX_CONTRASTS = {
    ("CAR-FT - FT", "ID test"): (-0.51, -0.85, -0.17),
    ("CAR-FT - FT", "mean OOD"): (-0.10, -0.48, 0.28),
    ("CAR-FT - FT", "contexts of the suites"): (5.69, 3.72, 7.65),
    ("CAR-FT - CAR-FT, random", "ID test"): (-0.48, -0.71, -0.24),
    ("CAR-FT - CAR-FT, random", "mean OOD"): (-1.00, -1.44, -0.56),
    ("FT - zero-shot", "contexts of the suites"): (-8.07, -11.55, -4.58),
}


def first_trials() -> Iterator[EvaluatedCell]:
    for row in pd.read_csv(FIRST_TRIALS).to_dict("records"):
        values = {name: row[name] for name in ("lr", "kl_weight") if not np.isnan(row[name])}
        cell = Cell(row["task"], "1", "icons-resnet", "icons", row["method"], values, row["seed"])
        yield EvaluatedCell(cell, {metric: row[metric] for metric in ("val/top1", *MEASURES.values())})


@pytest.fixture(scope="module")
def contrasts() -> pd.DataFrame:
    return differences_by_setting(first_trials(), METHODS).set_index(["contrast", "where"])


@pytest.mark.parametrize(("contrast", "expected"), SIX_CONTRASTS.items(), ids=map(" ".join, SIX_CONTRASTS))
def test_the_first_audit_gives_its_six_contrasts(
    contrast: tuple[str, str], expected: tuple[float, ...], contrasts: pd.DataFrame
) -> None:
    row = contrasts.loc[contrast]
    assert tuple(round(100 * float(row[name]), 2) for name in ("effect", "low", "high")) == expected
    assert (row["n_tasks"], row["n_searches"], row["n_pairs"]) == (9, 5, 45)
    assert row["registered"] == (contrast[0] == "CAR-FT - FT")


def evaluated(
    task: str, method: str, values: Mapping[str, float], seed: int, top1: float, val: float = 0.5, **more: object
) -> EvaluatedCell:
    """A cell of which every measure is ``top1``."""
    cell = Cell(f"icons/{task}", "1", "icons-resnet", "icons", method, values, seed, **more)  # type: ignore[arg-type]
    return EvaluatedCell(cell, {**dict.fromkeys(MEASURES.values(), top1), "val/top1": val})


def grid(effects: Mapping[tuple[str, int], float], lr: float = 1e-3, val: float = 0.5) -> list[EvaluatedCell]:
    """FT at 0.5, CAR-FT and KD that much above it at KL weight 1. effects: (task, seed) -> difference."""
    cells = []
    for (task, seed), effect in effects.items():
        cells.append(evaluated(task, "ft", {"lr": lr}, seed, 0.5, val))
        cells += [evaluated(task, name, {"lr": lr, "kl_weight": 1.0}, seed, 0.5 + effect) for name in ("car_ft", "kd")]
    return cells


EFFECTS = {("body", 0): 0.1, ("body", 1): 0.3, ("body", 1000): 0.4, ("tools", 0): 0.1}


@pytest.mark.parametrize(
    "other",
    [
        evaluated("body", "car_ft", {"lr": 2e-3, "kl_weight": 1.0}, 0, 0.9),
        evaluated("body", "car_ft", {"lr": 1e-3, "kl_weight": 1.0}, 2, 0.9),
        evaluated("body", "car_ft", {"lr": 1e-3, "kl_weight": 1.0}, 0, 0.9, training=Training(epochs=9)),
        evaluated("body", "car_ft", {"lr": 1e-3, "kl_weight": 1.0}, 0, 0.9, reading=Reading(class_head="frozen")),
        evaluated("body", "car_ft", {"lr": 1e-3, "kl_weight": 1.0}, 0, 0.9, precision="bfloat16"),
        evaluated("body", "flyp", {"lr": 1e-3}, 0, 0.9),  # its learning rate is another one
        evaluated("body", "car_ft_random", {"lr": 1e-3, "kl_weight": 2.0}, 0, 0.9),
    ],
    ids=("learning rate", "seed", "training", "reading", "precision", "nothing in common", "KL weight"),
)
def test_cells_that_differ_in_more_than_the_method_are_no_pair(other: EvaluatedCell) -> None:
    pd.testing.assert_frame_equal(
        differences_by_setting([*grid(EFFECTS), other], METHODS), differences_by_setting(grid(EFFECTS), METHODS)
    )


def test_searches_are_averaged_before_tasks_and_every_method_is_compared_with_ft() -> None:
    table = differences_by_setting(grid(EFFECTS), METHODS).set_index(["contrast", "where"])
    assert {*table.index.get_level_values(0)} == {"CAR-FT - FT", "KD - FT"}
    row = table.loc[("CAR-FT - FT", "mean OOD")]
    assert row["effect"] == pytest.approx(((0.2 + 0.4) / 2 + 0.1) / 2)
    assert (row["high"] - row["low"]) / 2 == pytest.approx(scipy.stats.t.ppf(0.975, 1) * 0.1)
    assert (row["interval_over"], row["n_tasks"], row["n_pairs"], row["n_searches"]) == ("tasks", 2, 4, 2)


@pytest.mark.parametrize(
    ("effects", "over", "effect"),
    [
        ({("body", 0): 0.1, ("body", 1): 0.3}, "seeds", 0.2),
        ({("body", 0): 0.1, ("body", 1): 0.3, ("body", 1000): 0.4}, "searches", 0.3),
    ],
)
def test_of_one_task_the_interval_is_over_searches_or_seeds(effects: dict, over: str, effect: float) -> None:
    row = differences_by_setting(grid(effects), METHODS).iloc[0]
    assert (row["interval_over"], row["effect"]) == (over, pytest.approx(effect))
    assert differences_by_setting(grid({("body", 0): 0.1}), METHODS).empty


def test_bands_hold_for_all_points_together() -> None:
    rng = np.random.default_rng(0)
    lines = [grid({(task, 0): rng.normal() for task in ("body", "tools", "media")}, lr) for lr in (1e-3, 2e-3, 4e-3)]
    table = differences_by_setting([cell for line in lines for cell in line], METHODS)
    assert {*table["n_points"]} == {3}
    ratio = (table["band_high"] - table["effect"]) / (table["high"] - table["effect"])
    assert ratio.to_numpy() == pytest.approx(scipy.stats.t.ppf(1 - 0.025 / 3, 2) / scipy.stats.t.ppf(0.975, 2))


def test_the_registered_learning_rate_is_the_one_that_validation_prefers_on_all_tasks() -> None:
    two, three = ({(task, 0): 0.1 for task in tasks} for tasks in (("body", "tools"), ("body", "tools", "media")))
    cells = [*grid(three, 1e-3, val=0.6), *grid(three, 2e-3, val=0.7), *grid(two, 4e-3, val=0.9)]
    table = differences_by_setting(cells, METHODS)
    registered = table[table["registered"]]
    assert {*registered["contrast"]} == {"CAR-FT - FT"} and {*registered["lr"]} == {2e-3}
    assert len(registered) == len(MEASURES)
