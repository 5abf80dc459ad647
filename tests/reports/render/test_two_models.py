"""A page on two models that were tuned on the same tasks: what is of one is never drawn or told as of the other."""

from __future__ import annotations

import shutil
from collections import Counter

import pytest

from carft.store.records import Store
from reports.build import sources_of
from reports.figures.figure import interactive_data
from reports.render.page import Content
from reports.tables.table import Sources
from tests.support.helpers import ROOT
from tests.support.planted import Plan, plant

TASKS = ("icons/transport", "icons/tools")
WEIGHTS = ROOT / "carft" / "data" / "icons" / "weights" / "icons-resnet.safetensors"


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Sources:
    folder = tmp_path_factory.mktemp("two")
    shutil.copy(WEIGHTS, folder / "mine.safetensors")
    (folder / "mine.safetensors").open("ab").write(b" ")  # other weights by their digest
    store = Store(folder / "results")
    context = {"zeroshot": 0.9, "ft": 0.6, "car_ft": 0.8}
    plant(store, TASKS, Plan({"zeroshot": 0.3, "ft": 0.4, "car_ft": 0.4}, context), trials=3)
    other = Plan({"zeroshot": 0.7, "ft": 0.9, "car_ft": 0.8}, context)
    plant(store, TASKS, other, trials=3, pretrained=str(folder / "mine.safetensors"))
    return sources_of(store)


def test_marks_of_two_models_on_one_task_have_two_names_and_scores_from_their_own_mean(two: Sources) -> None:
    drawn = interactive_data(two.tables())
    for name, each in (("points", ("task", "method")), ("differences", ("task", "where"))):
        counts = Counter(tuple(row[key] for key in each) for row in drawn[name])
        assert counts and set(counts.values()) == {1}
    named = {row["task"] for row in drawn["trials"]}
    assert len(named) == 4 and {task.partition(" with ")[0] for task in named} == set(TASKS) < named
    for task in named:
        relative = [row["relative"] for row in drawn["trials"] if row["task"] == task]
        assert sum(relative) == pytest.approx(0, abs=0.1)


def test_a_claim_stands_once_in_the_table_and_its_other_scopes_below_it(two: Sources) -> None:
    content = Content.of(two, [], "fingerprint")
    once = Counter(claim.id for claim, _ in content.first)
    assert set(once.values()) == {1}
    further = [pair for pairs in content.further.values() for pair in pairs]
    assert "C8" in {claim.id for claim, _ in further}
    shown = [*content.first, *further]
    assert sorted(map(id, (v for _, v in shown))) == sorted(map(id, (v for _, v in content.claims)))
