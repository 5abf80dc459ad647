"""The sentences at the top of a report: they say what the intervals and verdicts say, and no more."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from carft.core.failure_kinds import FailureKind
from carft.data.icons.world import nine_tasks
from carft.store.failures import write_failure
from carft.store.records import Store
from reports.judge.claims.claim import Verdict
from reports.judge.claims.ledger import ledger
from reports.judge.claims.rules import decide
from reports.judge.claims.verdicts import verdicts
from reports.judge.contrasts.contrast import Contrast, pool
from reports.judge.entry import FT, Entry
from reports.judge.estimate import Component, Estimate
from reports.judge.evidence import Evidence
from reports.judge.findings import findings_on
from reports.judge.headlines import TOPICS, headlines
from reports.judge.null_checks import DIVERGENCE, NullCheck
from reports.judge.part import Part
from reports.note import Note
from reports.render.words.answer_words import PageAnswer, sentence_on
from reports.render.words.verdict_words import beside_words, first_sight, reason_words, worst_of
from tests.support.planted import GOOD, Plan, change_study, plant
from tests.support.reading import evidence_in

ALL = "icons-3/all"  # a scope of its own
PLAN = replace(GOOD, groups=30)


def evidence_of(folder: Path, plan: Plan = PLAN, tasks: Sequence[str] = (ALL,), trials: int = 2) -> Evidence:
    store = Store(folder)
    plant(store, tasks, plan, trials=trials)
    return evidence_in(store)


def answer_of(evidence: Evidence, checks: Sequence[NullCheck] | None = None) -> PageAnswer:
    return PageAnswer.of(findings_on(evidence, checks))


def words(answer: PageAnswer) -> dict[str, str]:
    return {sentence.topic: sentence.words for sentence in answer.sentences}


def test_planted_effects_are_told_with_the_numbers_of_the_verdicts(tmp_path: Path) -> None:
    evidence = evidence_of(tmp_path, tasks=nine_tasks())
    found = answer_of(evidence)
    told, by_claim = words(found), {v.claim: v for v in verdicts(evidence)}
    assert list(told) == ["Context recognition", "In distribution", "Out of distribution"]
    gained = 100 * by_claim["C3"].parts[0].estimate.effect
    assert told["In distribution"] == (
        f"CAR-FT is {gained:.1f} points more accurate than plain fine-tuning, on one search."
    )
    assert re.fullmatch(r"CAR-FT recognises \d+\.\d points more contexts than .*", told["Context recognition"])
    for sentence, claims in zip(found.sentences, (("C1", "C2"), ("C3",), ("C4",)), strict=True):
        assert set(claims) <= {verdict.claim for verdict in sentence.decided}
        assert len(sentence.words.split()) <= 20 and len(re.findall(r"\d+\.\d", sentence.words)) == 1
    trust = dict(found.trust)
    assert list(trust) == ["Scale", "Rests on", "Could it have shown it", "Intervals", "Warnings"]
    assert trust["Rests on"].endswith("9 of 9 tasks, 3 seeds, 270 test drawings; 2 trials in one search of a study.")
    assert "the luck of the search" in trust["Intervals"]
    assert found.summary == [("Asked", found.question), *told.items(), *found.trust]


def test_no_direction_is_given_where_the_interval_has_none(tmp_path: Path) -> None:
    plan = replace(PLAN, top1=dict.fromkeys(PLAN.top1, 0.6), context=dict.fromkeys(PLAN.context, 0.8), spread=0.1)
    for sentence in answer_of(evidence_of(tmp_path, plan)).sentences:
        assert re.search("is not shown to (differ from plain fine-tuning|keep contexts): ", sentence.words)


def test_part_of_the_evidence_has_no_direction_and_is_in_doubt(tmp_path: Path) -> None:
    found = answer_of(evidence_of(tmp_path, tasks=nine_tasks()[:2]))
    for sentence in found.sentences:
        assert re.search(r"is not shown to .* points.*, but the evidence is in doubt\.", sentence.words)
    assert "2 of 9 tasks, " in dict(found.trust)["Rests on"]


def test_broken_data_are_told(tmp_path: Path) -> None:
    evidence = evidence_of(tmp_path)
    cell = evidence.records[next(iter(evidence.records))].cell
    write_failure(Store(tmp_path), cell, FailureKind.UNREADABLE, "The image 'a.png' cannot be read.", job="confirm")
    found = answer_of(evidence_in(Store(tmp_path)))
    assert "icons-3/all: an image cannot be read." in dict(found.trust)["Warnings"]


def test_a_failed_null_check_stands_in_every_sentence_and_in_the_warnings(tmp_path: Path) -> None:
    check = NullCheck(DIVERGENCE, "failed", "2 of 3 cells start above 0.")
    failed = answer_of(evidence_of(tmp_path), [check])
    assert all("the evidence is in doubt" in sentence.words for sentence in failed.sentences)
    assert dict(failed.trust)["Warnings"].startswith(f"A null check FAILED ({DIVERGENCE})")


def test_the_first_scope_leads_and_each_other_one_has_sentences_of_its_own(tmp_path: Path) -> None:
    evidence = evidence_of(tmp_path, tasks=(*nine_tasks()[:2], ALL, "cifar10"))
    answer = answer_of(evidence)
    decided = {v.scope for v in verdicts(evidence) if v.scope and not v.missing}
    assert len(decided) > 1 and [evidence.name, *answer.others] == [
        view.name for view in evidence.views() if view.name in decided
    ]
    by_scope = {evidence.name: answer.sentences, **answer.others}
    for verdict in verdicts(evidence):
        if verdict.claim == "C3" and verdict.scope:
            size = f"{abs(100 * verdict.parts[0].estimate.effect):.1f} points"
            assert size in by_scope[verdict.scope][1].words


def test_the_scope_with_the_most_searches_leads(tmp_path: Path) -> None:
    assert evidence_of(tmp_path, tasks=(nine_tasks()[0], ALL)).name != ALL
    plant(Store(tmp_path), (ALL,), PLAN, trials=2, search=2)
    assert evidence_in(Store(tmp_path)).name == ALL
    for method in ("ft", "car_ft"):  # a search that is not over counts for nothing
        change_study(Store(tmp_path), ALL, method, winner="")
    assert evidence_in(Store(tmp_path)).name != ALL


def test_a_model_that_does_not_know_the_classes_is_told_of_first_and_being_above_it_decides_nothing(
    tmp_path: Path,
) -> None:
    evidence = evidence_of(tmp_path, replace(PLAN, top1={**PLAN.top1, "zeroshot": -1.0}))
    by_claim, answer = {v.claim: v for v in verdicts(evidence)}, answer_of(evidence)
    assert by_claim["C4"].verdict == "suggested reproduced" and by_claim["C4b"].verdict == "inconclusive"
    assert by_claim["C4b"].number.low is not None and by_claim["C4b"].number.low > 0
    assert re.search(
        r"Zero-shot names the class of 0\.0 % of images \(.*not above chance", reason_words(by_claim["C4b"])
    )
    told = dict(answer.trust)["Warnings"]
    assert "This model does not know these classes: " in told and "--model ViT-B-16" in told
    assert "does not know" not in dict(answer_of(evidence_of(tmp_path / "known")).trust)["Warnings"]


def test_a_method_of_one_s_own_stands_in_the_sentences_beside_car_ft(tmp_path: Path) -> None:
    plan = replace(PLAN, top1={**PLAN.top1, "l2_sp": 0.9}, context={**PLAN.context, "l2_sp": 0.3})
    store = evidence_of(tmp_path, plan).store
    assert "L2-SP" not in str(answer_of(evidence_in(store)))
    change_study(store, ALL, "l2_sp", plugin="0" * 12)
    evidence = evidence_in(store)
    told = words(answer_of(evidence))
    gained = pool(evidence, Contrast(Entry("l2_sp"), FT), "")
    assert gained is not None
    assert f"L2-SP is {100 * gained.estimate.effect:.1f} points more accurate" in told["In distribution"]
    assert re.search("L2-SP recognises .* points fewer contexts", told["Context recognition"])
    study = next(study for study in store.studies() if study.method == "l2_sp")
    change_study(store, ALL, "l2_sp", trials=[trial.model_dump() for trial in study.trials[:1]])
    unequal = words(answer_of(evidence_in(store)))
    assert re.search("L2-SP .*, but the evidence is in doubt", unequal["In distribution"])


def made(name: str, effect: float, se: float, margin: float = 0.0) -> Part:
    """A part with an interval of about two standard errors to either side."""
    estimate = Estimate(effect, (Component(se**2, 10_000, "groups"),), 3, 60)
    return Part(name, estimate, (), (name,), margin=margin)


def decided(evidence: Evidence, claim: str, *parts: Part) -> Verdict:
    return decide(ledger()[claim], evidence, parts, "ft")


#: an effect and its standard error
ABOVE, BELOW, AROUND, NARROW = (0.03, 0.005), (-0.03, 0.005), (0.002, 0.01), (-0.001, 0.001)


def told_of(evidence: Evidence, *of_claims: Verdict) -> dict[str, str]:
    """Topic -> the sentence on it, from planted verdicts."""
    return {topic.title: sentence_on(headlines(topic, evidence, of_claims, []), evidence).words for topic in TOPICS}


def test_a_sentence_says_what_the_verdict_says_where_the_interval_says_something_else(tmp_path: Path) -> None:
    evidence = evidence_of(tmp_path)
    above = made("CAR-FT - FT", *ABOVE)
    mean = decided(evidence, "C4m", above)
    assert "is 3.0 points more accurate than" in told_of(evidence, mean)["Out of distribution"]
    corrected = mean.opened("After Holm over 2 primary endpoints p is 3.0 %, not below 2.5 %.")
    presumed = mean.opened("Zero-shot is not above chance.")
    flagged = replace(mean, damage=(Note("tasks", "a task is missing"),))
    unequal = replace(mean, unequal=(Note("steps", "other steps"),))
    for verdict in (corrected, presumed, flagged, unequal):
        assert verdict.verdict == "inconclusive" and above.low > 0
        words = told_of(evidence, verdict)["Out of distribution"]
        assert words.startswith("CAR-FT is not shown to differ from plain fine-tuning: +3.0 points")
        assert words.endswith("but the evidence is in doubt.") == bool(verdict.flag)
    kept = made("CAR-FT - zero-shot", 0.0, 0.005, margin=-0.02)
    lost = made("CAR-FT - zero-shot", -0.05, 0.005, margin=-0.02)
    unclear = made("CAR-FT - zero-shot", -0.02, 0.01, margin=-0.02)
    for second, words in (
        (kept, "CAR-FT recognises 3.0 points more contexts than plain fine-tuning, on one search."),
        (lost, "CAR-FT recognises 5.0 points fewer contexts than zero-shot, beyond the margin, on one search."),
        (unclear, "CAR-FT is not shown to keep contexts: +3.0 points to plain fine-tuning, -2.0 to zero-shot."),
    ):
        assert told_of(evidence, decided(evidence, "C2", above, second))["Context recognition"] == words


def test_the_margin_that_a_claim_allows_stands_in_the_sentence(tmp_path: Path) -> None:
    evidence = evidence_of(tmp_path)
    for effect, words in (
        (NARROW, "is not shown to differ from plain fine-tuning: -0.1 points, and no worse by the margin of 0.5"),
        (BELOW, "is 3.0 points less accurate than plain fine-tuning, and worse by more than 0.5 points"),
        (AROUND, "is not shown to differ from plain fine-tuning: +0.2 points."),
        (ABOVE, "is 3.0 points more accurate than plain fine-tuning, on one search."),
    ):
        higher = decided(evidence, "C3", made("CAR-FT - FT", *effect))
        no_worse = decided(evidence, "C3b", made("CAR-FT - FT", *effect, margin=-0.005))
        if higher.direction == "no difference":
            higher = replace(higher, direction="open")
        assert told_of(evidence, higher, no_worse)["In distribution"].startswith(f"CAR-FT {words}")


def test_a_verdict_that_looks_wrong_at_first_sight_explains_itself(tmp_path: Path) -> None:
    evidence = evidence_of(tmp_path)
    shifts = [made(f"CAR-FT - FT, shift {k}", 0.02, 0.01) for k in range(4)]
    holm = decided(evidence, "C4", made("CAR-FT - FT, worst", -0.022, 0.01), *shifts)
    assert holm.verdict == "inconclusive" and holm.number.high is not None and holm.number.high < 0
    assert first_sight(holm) == holm.reasons[0] and "after Holm over 5" in first_sight(holm)
    reaching = decided(evidence, "C3", made("CAR-FT - FT", -0.006, 0.002, margin=-0.005))
    assert first_sight(reaching).startswith("The interval reaches the margin for: ")
    allowed = decided(evidence, "C3", made("CAR-FT - FT", 0.0, 0.001, margin=-0.005))
    assert first_sight(allowed) == "The margin is -0.5 points."
    own = decided(evidence, "C2", made("CAR-FT - zero-shot", -0.05, 0.01, margin=-0.02))
    assert (own.verdict, first_sight(own)) == ("suggested contradicted", "The margin is -2 points, this audit's own.")
    plain = decided(evidence, "C4", made("CAR-FT - FT", 0.05, 0.01))
    assert (plain.verdict, first_sight(plain)) == ("suggested reproduced", "")


def test_a_verdict_of_several_parts_names_the_worst_and_the_mean_beside_it(tmp_path: Path) -> None:
    by_claim = {v.claim: v for v in verdicts(evidence_of(tmp_path, tasks=nine_tasks()))}
    assert [worst_of(by_claim[claim]) for claim in ("C1", "C3", "C4", "C5")] == [0, 0, 5, 9]
    assert [beside_words(by_claim[claim]) for claim in ("C3", "C2", "C10")] == [""] * 3
    mean = next(part for part in by_claim["C4"].parts if part.name == "CAR-FT - FT, mean of suites")
    size = f"{100 * mean.estimate.effect:+.1f} ({100 * mean.low:+.1f} to {100 * mean.high:+.1f})"
    assert beside_words(by_claim["C4"]) == f"mean of suites {size}"
    assert beside_words(by_claim["C5"]).startswith("mean of tasks ")
