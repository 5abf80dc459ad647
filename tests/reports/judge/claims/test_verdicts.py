"""Planted effects come out as the verdicts they are."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from carft.catalog.catalog import BUILT_IN
from carft.catalog.resolve import interpolation, specify
from carft.config.cell import Training
from carft.core.metrics import macro_accuracy
from carft.data.icons.world import nine_tasks
from carft.store.records import Store
from carft.store.stored_catalog import adopt_catalog
from carft.store.study_file import StudyFile
from reports.judge.claims.claim import (
    ICONS,
    INCONCLUSIVE,
    WORDS,
    Answer,
    Direction,
    Verdict,
    VerdictNumber,
)
from reports.judge.claims.ledger import ledger
from reports.judge.claims.rules import direction_of
from reports.judge.claims.verdicts import verdicts
from reports.judge.entry import CAR_FT, FT
from reports.judge.estimate import Component, Estimate
from reports.judge.findings import judge
from reports.judge.forgetting import EQUIVALENCE, equivalence_of
from reports.judge.pairing import contributions
from reports.judge.part import Part
from reports.note import Note
from reports.read.folder import read_folder
from reports.render.words.verdict_words import as_dict, power_words, reason_words, shown_word, tuning_words
from tests.support.planted import GOOD, HALF, Plan, by_claim, change_study, forget_journal, plant, planted, write
from tests.support.reading import evidence_in, table_of

ALL = "icons-3/all"  # a scope of its own

NOTHING = Plan(
    top1={"zeroshot": 0.6, "ft": 0.6, "car_ft": 0.6},
    context={"zeroshot": 0.8, "ft": 0.8, "car_ft": 0.8},
    seeds=(1, 2),
    spread=0.2,
)


def answers(store: Store, plan: Plan, tasks: Sequence[str] = nine_tasks(), **options: Any) -> dict[str, Verdict]:
    """Plant a results folder and return its verdicts by claim. options: those of ``plant``."""
    plant(store, tasks, plan, **options)
    return by_claim(store)


#: what a folder of zero-shot, FT, CAR-FT and WiSE-FT on the nine tasks decides
DECIDED = ("C1", "C2", "C3", "C3b", "C4", "C4b", "C4m", "C5", "C12")
NOT_RUN = ("C6", "C8", "C8r", "C10", "C11")


def test_large_planted_effects_are_reproduced_and_their_opposite_contradicted(store: Store, tmp_path: Path) -> None:
    found = answers(store, GOOD, curves=True, alphas=HALF)
    assert list(found) == list(ledger())
    assert {c: found[c].verdict for c in DECIDED} == dict.fromkeys(
        DECIDED, "suggested reproduced"
    )  # from one search each
    assert {c: found[c].verdict for c in NOT_RUN} == dict.fromkeys(NOT_RUN, "not run")
    assert all(found[c].command.startswith("python cli.py sweep ") for c in NOT_RUN)
    assert found["C4"].number.n_seeds == 3
    assert found["C5"].number.low is not None and found["C5"].number.low > 0
    assert {v.scale for c, v in found.items() if c not in ("C6", "C7")} == {"miniature"}
    swapped = Plan({"zeroshot": 0.8, "ft": 0.75, "car_ft": 0.6}, {"zeroshot": 0.9, "ft": 0.95, "car_ft": 0.5}, (1, 2))
    found = answers(Store(tmp_path / "swapped"), swapped, curves=True, alphas=HALF)
    assert {found[c].verdict for c in DECIDED} == {"suggested contradicted"}


def test_without_one_of_the_five_shifts_c4_is_not_run_and_c4m_names_those_that_it_rests_on(store: Store) -> None:
    kept = [suite for suite in BUILT_IN.card(ALL).suites if suite != "viewpoint"]
    planted(store, [ALL], GOOD)
    adopt_catalog(store, BUILT_IN.with_suites(kept), [ALL])
    found = by_claim(store)
    assert found["C4"].verdict == found["C4b"].verdict == "not run" and "car_ft on viewpoint" in found["C4"].missing
    assert found["C4"].command.endswith(f"--suites {','.join(kept)},viewpoint")
    results = read_folder(store)
    cell = next(cell for cell in results.records if results.evaluated(cell))
    means = [results.metrics(cell)[f"ood/{suite}/top1"] for suite in kept]
    assert results.metrics(cell)["ood/mean/top1"] == pytest.approx(sum(means) / len(kept))
    assert store.metrics(cell)["ood/viewpoint/top1"] >= 0 and "ood/viewpoint/top1" not in results.metrics(cell)
    assert found["C4m"].verdict == "suggested reproduced" and f"It rests on {', '.join(kept)} alone." in reason_words(
        found["C4m"]
    )


def test_a_true_zero_is_open(store: Store, tmp_path: Path) -> None:
    curves = answers(Store(tmp_path / "curves"), NOTHING, [ALL], curves=True, alphas=HALF)
    assert {curves[claim].verdict for claim in ("C4", "C4m", "C12")} == {INCONCLUSIVE}
    found = answers(store, NOTHING)
    assert {found[claim].verdict for claim in ("C4", "C4b", "C4m", "C5")} == {INCONCLUSIVE}
    same = answers(Store(tmp_path / "identical"), replace(NOTHING, spread=0.0))
    assert {same[claim].verdict for claim in ("C4b", "C5", "C3")} == {INCONCLUSIVE}
    # a difference of exactly 0 on 1,080 images does not exclude one of half a point on others
    assert same["C3"].number.low is not None and -0.01 < same["C3"].number.low < -0.005


#: accuracy of CAR-FT -> the direction
PLANTED = {0.7: "for", 0.5: "against", 0.6: "no difference"}


@pytest.mark.parametrize("state", range(3), ids=["two searches", "one search", "a lost cell"])
@pytest.mark.parametrize("car_ft", PLANTED)
def test_a_planted_effect_has_the_word_of_its_direction_and_of_its_evidence(
    store: Store, car_ft: float, state: int
) -> None:
    plan = Plan(
        top1={"zeroshot": 0.8, "ft": 0.6, "car_ft": car_ft},
        context=dict.fromkeys(("zeroshot", "ft", "car_ft"), 0.8),
        seeds=(1, 2),
        groups=600,
        spread=0.0,
    )
    for search in (1, 2)[: 1 if state == 1 else 2]:
        plant(store, [ALL], plan, search=search, curves=True, alphas=HALF)
    if state == 2:
        known = next(s for s in store.studies() if s.method == "car_ft")
        shutil.rmtree(store.folder(known.confirm[0]))
    found = by_claim(store)
    for claim in ("C3", "C4m", "C4"):
        verdict = found[claim]
        word = WORDS[PLANTED[car_ft]]
        assert verdict.direction == PLANTED[car_ft]
        assert verdict.verdict == (word, f"suggested {word}", INCONCLUSIVE)[state], claim
        assert verdict.flag == ("", "", "in doubt")[state]
        assert (as_dict(verdict)["direction"], as_dict(verdict)["flag"]) == (PLANTED[car_ft], verdict.flag)
    if car_ft == 0.6:
        assert found["C3"].equivalence == found["C4m"].equivalence == EQUIVALENCE == 0.005
        assert state == 2 or shown_word(found["C3"]).endswith("no difference above 0.5")
        assert found["C3b"].direction == "for"
        assert equivalence_of(evidence_in(store), "contexts", found["C3"].deciding) is None


def test_no_difference_needs_a_positive_control_out_of_distribution(store: Store) -> None:
    """Where WiSE-FT does not surely gain, no margin of equivalence exists, and an open claim stays open."""
    plan = Plan(top1=dict.fromkeys(("zeroshot", "ft", "car_ft"), 0.6), context={}, groups=300, spread=0.0)
    plan = replace(plan, context=dict.fromkeys(plan.top1, 0.8))
    plant(store, [ALL], plan, curves=True, alphas=HALF)
    found = by_claim(store)
    assert found["C4m"].equivalence is None
    assert (found["C4m"].direction, found["C3"].verdict) == ("open", "suggested no difference")


MISSING, UNEQUAL = "ft", (Note("search seed", "the search seed (ft 0 against car_ft 7)"),)
DAMAGE = (Note("seeds", "icons-3/all has seeds that only one side was run with"),)


def made(direction: Direction = "open", searches: int = 2, **facts: Any) -> Verdict:
    number = VerdictNumber(n_searches=searches)
    return Verdict(ledger()["C3"], "", "miniature", direction=direction, number=number, **facts)


#: what is set in a verdict -> its word
SET: tuple[tuple[dict[str, Any], Answer], ...] = (
    ({"missing": MISSING, "unequal": UNEQUAL, "damage": DAMAGE}, "not run"),
    ({"direction": "for", "unequal": UNEQUAL}, "inconclusive"),
    ({"direction": "against", "damage": DAMAGE}, "inconclusive"),
    ({"direction": "against", "searches": 1}, "suggested contradicted"),
    ({"direction": "against"}, "contradicted"),
    ({"direction": "for", "searches": 1}, "suggested reproduced"),
    ({"direction": "for"}, "reproduced"),
    ({"direction": "no difference", "searches": 1}, "suggested no difference"),
    ({"direction": "no difference"}, "no difference"),
    ({"direction": "open", "searches": 1}, "inconclusive"),
    ({"direction": "open"}, "inconclusive"),
)


def test_there_are_five_words_and_suggested_before_three_of_them() -> None:
    assert [made(**fields).verdict for fields, _ in SET] == [word for _, word in SET]
    assert {made(**fields).verdict for fields, _ in SET} == set(ICONS)
    both = made("for", unequal=UNEQUAL, damage=DAMAGE)
    assert (both.flag, both.of_intervals, both.direction) == ("not comparable", "reproduced", "for")


def test_one_seed_decides_nothing(store: Store) -> None:
    found = answers(store, replace(GOOD, seeds=(1,)), curves=True, alphas=HALF)
    assert {found[c].verdict for c in DECIDED} == {"inconclusive"}


def test_several_searches_are_the_replicates_and_the_verdict_says_what_it_covers(store: Store) -> None:
    alone = answers(store, replace(GOOD, seeds=(1, 2)), [ALL])["C3"]
    lucky = replace(GOOD, seeds=(1, 2), top1={**GOOD.top1, "car_ft": 0.9})
    found = answers(store, lucky, [ALL], search=2)["C3"]
    evidence = evidence_in(store)
    assert (alone.number.n_seeds, alone.number.n_searches) == (2, 1)
    assert (found.number.n_seeds, found.number.n_searches) == (4, 2)
    assert "does not cover tuning luck" in tuning_words(alone) and "covers tuning luck" in tuning_words(found)
    assert as_dict(alone)["covers_tuning_luck"] is False and as_dict(found)["covers_tuning_luck"] is True
    effects, rivals = (
        [evidence.metrics(cell)["test/top1"] for cell in evidence.cells(ALL, entry)] for entry in (CAR_FT, FT)
    )
    assert found.number.effect == pytest.approx(np.mean(effects) - np.mean(rivals)) and found.number.floor == "searches"
    assert alone.number.low is not None and found.number.low is not None and found.number.low < alone.number.low - 0.1
    assert not evidence.dropped and "searches" in power_words(found)
    trials = table_of(judge(evidence.folder), "trials")
    assert trials.groupby(["task", "method"])["search"].apply(list).tolist() == [[1, 2], [1, 2]]


def test_a_search_that_only_one_side_has_is_left_out(store: Store, tmp_path: Path) -> None:
    alone = answers(store, GOOD, [ALL])["C3"]
    better = Plan(top1={"car_ft": 0.9}, context={"car_ft": 0.9})
    found = answers(store, better, [ALL], search=2)
    assert found["C3"].number == alone.number and alone.number.n_searches == 1
    assert found["C3"].verdict == alone.verdict
    # if one side lacks search 1, its search 2 is not compared with search 1 of the other side
    lacking = Store(tmp_path / "lacking")
    answers(lacking, replace(GOOD, top1={"zeroshot": 0.5, "ft": 0.6}), [ALL])
    assert answers(lacking, better, [ALL], search=2)["C3"].verdict in ("inconclusive", "not run")


def test_contributions_sum_to_the_recorded_metrics_and_pairing_narrows_the_interval(store: Store) -> None:
    """Statistics and records speak of the same number; groups are easy or hard for both methods alike."""
    task = nine_tasks()[0]
    plant(store, [task], GOOD)
    evidence = evidence_in(store)
    on_test = {}
    for entry in (FT, CAR_FT):
        cells = evidence.cells(task, entry)
        suites = evidence.set_names(task)[1:]
        same = {"test/context_top1": (["test"], "context"), "ood/mean/top1": (suites, "top1")}
        for metric, (sets, what) in {**same, "test/top1": (["test"], "top1")}.items():
            on_test[entry] = contributions(evidence, cells, sets, what).values
            assert on_test[entry].sum(1) == pytest.approx([store.metrics(cell)[metric] for cell in cells])
    assert np.var((on_test[CAR_FT] - on_test[FT]).mean(0)) < np.var(on_test[CAR_FT].mean(0))


def test_of_two_studies_of_one_question_the_larger_is_used_and_the_other_named(store: Store) -> None:
    for epochs in (1, 6):
        plant(store, nine_tasks()[:1], GOOD, epochs=epochs)
    evidence = evidence_in(store)
    assert {s.training.epochs for s in evidence.studies} == {6}
    assert {s.training.epochs for s in evidence.dropped} == {1}


TOOLS = "icons-3/mix-2"


def tools_study(store: Store, method: str) -> StudyFile:
    return next(s for s in store.studies() if (s.task, s.method) == (TOOLS, method))


def lose_a_task(store: Store) -> str:
    for method in ("ft", "car_ft"):
        shutil.rmtree(store.root / "studies" / tools_study(store, method).id)
    forget_journal(store)
    return f"1 of 9 tasks is missing ({TOOLS})"


def lose_confirm_cells(store: Store) -> str:
    change_study(store, TOOLS, "car_ft", confirm=[])
    return f"1 of 9 tasks is missing ({TOOLS})"


def lose_a_seed(store: Store) -> str:
    change_study(store, TOOLS, "ft", confirm=tools_study(store, "ft").confirm[:2])
    return "lack the planned seeds 3"


def fail_a_null_check(store: Store) -> str:
    """A cell of CAR-FT with weight 0 that does not predict what FT does: no result on CAR-FT is sound."""
    plain = specify(TOOLS, "car_ft", {"lr": 3e-4, "kl_weight": 0.0}, 1, Training(epochs=6))
    write(store, plain, 0.2, 0.2, GOOD, unseal=False)
    return "a null check failed"


@pytest.mark.parametrize(
    "damage",
    [lose_a_task, lose_confirm_cells, lose_a_seed, fail_a_null_check],
    ids=lambda damage: damage.__name__,
)
def test_damage_is_named_and_leaves_the_verdict_in_doubt(store: Store, damage: Callable[[Store], str]) -> None:
    plant(store, nine_tasks(), GOOD)
    reason, found = damage(store), by_claim(store)
    for claim in ("C2", "C3", "C4", "C5"):
        assert (found[claim].flag, found[claim].direction) == ("in doubt", "for") and reason in reason_words(
            found[claim]
        ), claim
    assert found["C3"].number.n_tasks == (8 if damage in (lose_a_task, lose_confirm_cells) else 9)
    assert damage is not fail_a_null_check or found["C1"].verdict == "suggested reproduced"  # of fine-tuning alone


def test_a_lost_interpolation_leaves_weight_averaging_in_doubt(store: Store) -> None:
    plant(store, nine_tasks(), GOOD, curves=True, alphas=HALF)
    parent = tools_study(store, "car_ft").confirm[0]
    shutil.rmtree(store.folder(interpolation(store.read(parent).cell, 0.5).id))
    found = by_claim(store)["C12"]
    assert (found.flag, found.direction) == ("in doubt", "for")
    assert "wise_ft(car_ft)" in reason_words(found) and parent in reason_words(found)


def test_the_task_of_all_classes_is_never_pooled_with_the_nine(store: Store) -> None:
    plant(store, (*nine_tasks()[:8], "icons-3/all"), GOOD)
    evidence = evidence_in(store)
    assert evidence.tasks == list(nine_tasks()[:8])
    assert {v.claim: v.flag for v in verdicts(evidence)}["C5"] == "in doubt"


def test_images_without_a_known_context_do_not_count_in_context_recognition(store: Store) -> None:
    plant(store, nine_tasks()[:1], GOOD)
    cell = evidence_in(store).cells(nine_tasks()[0], FT)[0]
    whole = store.predictions(cell, "test")
    for kept in (np.arange(len(whole.contexts)) % 2 == 1, np.zeros(len(whole.contexts), bool)):
        contexts = np.where(kept, whole.contexts, -1)
        store.add_evaluation(cell, "test", store.metrics(cell), replace(whole, contexts=contexts), {})
        made = contributions(evidence_in(store), [cell], ["test"], "context")
        if not kept.any():
            assert made is None
            continue
        assert made is not None
        assert made.values.sum() == pytest.approx(macro_accuracy(whole.predicted_contexts[kept], contexts[kept]))


def test_an_interval_beyond_the_margin_is_not_said_to_reach_it() -> None:
    """Without Holm it would contradict; the reason must say which is which."""
    beyond = Estimate(-0.02, (Component(0.0095**2, 100, "groups"),), 3, 50)
    others = [Estimate(0.001 * k, (Component(0.01**2, 100, "groups"),), 3, 50) for k in range(4)]
    parts = [Part(f"part {k}", estimate, (), ("t",)) for k, estimate in enumerate([beyond, *others])]
    assert parts[0].high < 0
    direction, reason = direction_of(parts)
    assert direction == "open"
    assert "reaches the margin for: part 1" in reason and "not after Holm over 5, for: part 0." in reason
