"""Claims of one's own: the file, its mistakes, and verdicts by the statistics of the ledger."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from carft.config.registry import METHODS
from carft.core.errors import UserError
from carft.store.records import Store
from reports.build import build_report
from reports.claims.ledger import ledger
from reports.claims.own import SHIPPED, claims_text, entry_of, read_claims
from reports.claims.verdicts import verdicts
from reports.evidence.evidence import Evidence
from reports.evidence.views import read_evidence
from reports.verify import verify
from tests.support.helpers import TASK, run_cli
from tests.support.planted import GOOD, QUICK, plant

pytestmark = pytest.mark.usefixtures("few_figures")

ONE = "claims:\n  - {id: X1, title: CAR-FT is better, first: car_ft, second: ft, set: ood, margin: 1}\n"


def test_a_claim_says_what_decides_it() -> None:
    (claim,) = read_claims(ONE, "mine.yaml", METHODS)
    rule = "car_ft minus ft, top-1, the mean of the sets under shift, mean over tasks: lower bound above 1 points."
    assert claim.rule == claim.statement == rule


@pytest.mark.parametrize(
    ("written", "label"),
    [
        *((name, name) for name in ("ft", "wise_ft(ft)", "wise_ft(car_ft) alpha 0.5", "soup(ft)", "soup(ft) greedy")),
        ("CAR-FT, permuted", "car_ft_permuted"),
        ("zero-shot", "zeroshot"),
        ("WiSE-FT of CAR-FT", "wise_ft(car_ft)"),
        ("WiSE-FT of FT alpha 0.5", "wise_ft(ft) alpha 0.5"),
        ("greedy soup of FT", "soup(ft) greedy"),
    ],
)
def test_a_method_is_written_as_the_tables_name_or_show_it(written: str, label: str) -> None:
    assert entry_of(written, METHODS).label == label


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("first: car_ft", "first: car_fft", "mine.yaml, line 2: claims.0.first: There is no method"),
        ("first: car_ft", "first: wise_ft", "There is no method 'wise_ft'"),
        ("first: car_ft", "first: wise_ft(ft) alpha 2", "alpha in 0 to 1"),
        ("first: car_ft", "first: ft alpha 0.5", "no other method has one"),
        ("set: ood", "set: food", "there is no set 'food'"),
        ("margin: 1", "margin: many", "line 2: claims.0.margin"),
        ("margin: 1", "margin: 1, side: left", "line 2: claims.0.side"),
        ("id: X1", "id: C1", "has a claim 'C1', as it or the ledger"),
        ("claims:", "claims: [", "is not YAML"),
        (ONE, ONE + ONE.split("\n", 1)[1], "has a claim 'X1', as it or the ledger"),
    ],
)
def test_a_mistake_is_named_with_its_line(old: str, new: str, says: str) -> None:
    with pytest.raises(UserError) as refused:
        read_claims(ONE.replace(old, new, 1), "mine.yaml", METHODS)
    assert says in str(refused.value)


@given(st.dictionaries(st.sampled_from(["id", "title", "first", "set", "margin"]), st.text(max_size=6) | st.floats()))
def test_any_claim_is_read_or_refused_in_words(content: dict[str, object]) -> None:
    with pytest.raises(UserError):
        read_claims(json.dumps({"claims": [content]}), "fuzzed.yaml", METHODS)


def test_a_ledger_that_does_not_ship_is_refused_with_those_that_do() -> None:
    with pytest.raises(UserError, match="Known: flyp, wise-ft"):
        claims_text("zzz")
    with pytest.raises(UserError, match="cannot be read"):
        claims_text("none.yaml")


def planted(folder: Path) -> Evidence:
    plant(Store(folder), ("icons-3/all",), GOOD)
    return read_evidence(Store(folder))


def test_the_rule_of_the_ledger_decides_it(tmp_path: Path) -> None:
    evidence = planted(tmp_path)
    margins = {"X1": 0, "X2": 50, "X3": 50}
    text = "claims:\n" + "".join(
        f"  - {{id: {name}, title: t, first: car_ft, second: ft, set: ood, margin: {margin}, "
        f"direction: {'below' if name == 'X3' else 'above'}}}\n"
        for name, margin in margins.items()
    )
    found = {v.claim: v for v in verdicts(evidence, own=read_claims(text, "mine.yaml", METHODS))}
    assert list(found)[-3:] == list(margins)
    answers = {name: found[name].verdict for name in margins}
    assert answers == {"X1": "suggested reproduced", "X2": "suggested contradicted", "X3": "suggested reproduced"}
    assert found["X2"].number.effect == found["X1"].number.effect == pytest.approx(0.15, abs=0.05)
    assert len(found["X1"].cells) > 0 and found["X1"].number.n_seeds == 3


def test_the_shipped_ledgers_are_decided_on_the_miniature_and_the_report_verifies(tmp_path: Path) -> None:
    store = Store(tmp_path / "results")
    plant(store, (TASK,), QUICK, curves=True)
    for name in SHIPPED:
        built = build_report(store, tmp_path / name, claims=name)
        own = {v.claim: v for v in built.sources.verdicts if v.claim not in ledger()}
        assert len(own) == 4
        assert all("--methods" in v.command for v in own.values() if v.verdict == "not run" and v.scope)
        assert verify(store, tmp_path / name).holds
        page, text = ((tmp_path / name / file).read_text() for file in ("index.html", "report.md"))
        for title, shown in (('<h3 id="own-claims">', page), ("## Claims of the reader's own", text)):
            before, after = shown.split(title)
            places = [after.find(v.asked.title) for v in own.values()]
            assert all(place >= 0 for place in places) and str(built.sources.verdicts[0].asked.title) in before
        assert not any(f'"id">{claim}<' in page.split('<h3 id="own-claims">')[0] for claim in own)


def test_every_claim_of_a_shipped_ledger_has_a_number_where_its_methods_and_tasks_are_there(store: Store) -> None:
    others = {"flyp": 0.7, "lp_ft": 0.65}
    plan = replace(QUICK, top1={**QUICK.top1, **others}, context={**QUICK.context, **others})
    plant(store, (TASK,), plan, curves=True)
    evidence = read_evidence(store)
    for name, without in (("wise-ft", {"W4"}), ("flyp", set())):
        own = read_claims(claims_text(name), name, METHODS)
        decided = [v for v in verdicts(evidence, own=own) if v.claim not in ledger()]
        assert {v.claim for v in decided if v.number.effect is None} == without


def test_claims_that_were_asked_before_in_this_process_are_not_asked_of_the_next_command(tmp_path: Path) -> None:
    planted(tmp_path / "results")
    asked = ("report", "why", "F1", "--results", tmp_path / "results")
    assert run_cli(*asked, "--claims", "flyp").returncode == 0
    assert run_cli(*asked).returncode == 2
