"""Tasks on one table share held-out images: pooled intervals count a group of them once."""

from __future__ import annotations

from pathlib import Path

from carft.data.folder.named import tasks_in
from carft.store.records import Store
from reports.judge.contrasts.contrast import Contrast
from reports.judge.entry import CAR_FT, FT
from tests.support.folder import draw_pets, keep_tasks, write_tasks
from tests.support.planted import Plan, plant
from tests.support.reading import evidence_in

PLAN = Plan(top1={"zeroshot": 0.5, "ft": 0.6, "car_ft": 0.7}, context={"zeroshot": 0.9, "ft": 0.6, "car_ft": 0.8})


def test_an_image_in_the_test_sets_of_three_tasks_is_one_group(tmp_path: Path, store: Store) -> None:
    draw_pets(tmp_path)
    tasks = tasks_in(write_tasks(tmp_path, {"name": "zoo", "path": "pets", "leave_one_out": True}))
    keep_tasks(store, tasks)
    plant(store, [task.name for task in tasks], PLAN)
    evidence = evidence_in(store)
    names = [set(estimate.by_group) for estimate, _ in Contrast(CAR_FT, FT).estimate(evidence).estimates.values()]
    assert names[0] and names[0] == names[1] == names[2]


def test_tasks_of_other_families_share_no_group_by_its_name(store: Store) -> None:
    plant(store, ["icons-3/mix-1", "icons-3/mix-3"], PLAN)
    result = Contrast(CAR_FT, FT).estimate(evidence_in(store))
    assert [dict(estimate.by_group) for estimate, _ in result.estimates.values()] == [{}, {}]
