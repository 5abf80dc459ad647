"""Which images the methods disagree on in every seed, by hand and by the columns of the tables."""

from __future__ import annotations

import pytest

from carft.config.registry import METHODS
from carft.config.resolve import specify
from carft.store.records import Store
from reports.evidence.evidence import Evidence
from reports.evidence.views import read_evidence
from reports.tables.disagreements import LEAST, MOST
from reports.tables.table import Sources
from tests.support.helpers import TASK
from tests.support.planted import HYPERPARAMETERS, Plan, begun_study, changed, plant, write_hits

#: method -> hits of each seed on six images of each set, one image a group
HITS = {
    "zeroshot": [[1, 1, 1, 0, 0, 1]],
    "ft": [[1, 0, 1, 0, 1, 0], [1, 0, 0, 0, 1, 0]],
    "car_ft": [[1, 1, 1, 1, 0, 0], [1, 1, 1, 0, 0, 0]],
}
SETS = ("test", "ood/hands", "ood/renditions", "ood/sketches", "ood/adversarial", "ood/viewpoint")


@pytest.fixture(scope="module")
def by_hand(tmp_path_factory: pytest.TempPathFactory) -> Evidence:
    store = Store(tmp_path_factory.mktemp("hand"))
    for method, seeds in HITS.items():
        cells = [specify(TASK, method, HYPERPARAMETERS[method], seed) for seed in range(1, len(seeds) + 1)]
        if METHODS[method].kind == "untrained":
            cells = [specify(TASK, method, {}, 0)]
        for cell, hits in zip(cells, seeds, strict=True):
            write_hits(store, cell, dict.fromkeys(SETS, hits), [f"g{k}" for k in range(6)])
        if method != "zeroshot":
            base = specify(TASK, method, HYPERPARAMETERS[method], 0)
            write_hits(store, base, {"test": seeds[0]}, [f"g{k}" for k in range(6)])
            begun = begun_study(base, {"epochs": base.training.epochs}, {})
            line = {"trial": 0, "parameters": dict(base.hyperparameters), "cell": base.id, "status": "done"}
            ended = changed(begun, trials=[line], winner=base.id, confirm=[cell.id for cell in cells])
            store.write_study(begun.id, ended)
    return read_evidence(store)


def test_only_images_that_every_seed_tells_apart_are_counted(by_hand: Evidence) -> None:
    table = Sources(by_hand).table("disagreements")
    test = table[(table["set"] == "test") & (table["question"] == "class")].set_index(["first", "second"])
    # CAR-FT alone is right in both seeds on image 1; FT alone on image 4. Image 2 and 3 differ in one seed only
    assert tuple(test.loc[("car_ft", "ft"), ["first_right", "second_right", "images", "n_seeds"]]) == (1, 1, 6, 2)
    # FT against zero-shot: image 4; zero-shot against FT: images 1 and 5
    assert tuple(test.loc[("ft", "zeroshot"), ["first_right", "second_right"]]) == (1, 2)
    assert len(table) == len(SETS) * 2 * 2


def test_the_gallery_names_truth_and_answers(by_hand: Evidence) -> None:
    table = Sources(by_hand).table("gallery")
    row = table[(table["image"] == "g1") & (table["set"] == "test") & (table["right"] == "car_ft")].iloc[0]
    classes = by_hand.card(TASK).classes
    if row["question"] == "class":
        assert (row["car_ft"], row["ft"]) == (classes[0], classes[1])
    assert row["label"] == classes[0] and row["wrong"] == "ft"
    assert not table.duplicated(["task", "set", "image"]).any()
    assert {*table["right"]} >= {"car_ft", "ft"}


def test_a_gallery_of_much_disagreement_is_full_and_the_same_each_time(tmp_path) -> None:
    store = Store(tmp_path)
    top1, context = {"zeroshot": 0.5, "ft": 0.6, "car_ft": 0.7}, {"zeroshot": 0.9, "ft": 0.5, "car_ft": 0.8}
    plant(store, [TASK, "icons/tools"], Plan(top1, context, seeds=(1, 2), groups=40, spread=0.2), curves=False)
    sources = Sources(read_evidence(store))
    found = sources.table("gallery")
    assert LEAST <= len(found) <= MOST and set(found["question"]) == {"class", "context"}
    assert set(found["task"]) == {TASK, "icons/tools"}
    assert found.equals(Sources(read_evidence(store)).table("gallery"))
    counts = sources.table("disagreements")
    compared = counts[(counts["first"] == "car_ft") & (counts["question"] == "class")].set_index(["task", "set"])
    for row in found[found["question"] == "class"].itertuples():
        column = "first_right" if row.right == "car_ft" else "second_right"
        assert compared.loc[(row.task, row.set), column] > 0
    examples = sources.table("context_images")
    assert list(examples["context"]) and not examples["context"].duplicated().any()
    assert set(examples["context"]) == set(sources.evidence.card(TASK).contexts)
