"""The power of claims, correlations over tasks, chance before a count, and what is to be run next."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from carft.catalog.catalog import BUILT_IN
from carft.catalog.resolve import specify
from carft.core.errors import UserError
from carft.data.family import Pool
from carft.data.folder.named import NamedTask
from carft.data.icons.world import nine_tasks
from carft.store.records import Store
from carft_cli.report import in_folder
from reports.judge.claims.ledger import ledger
from reports.judge.claims.rules import claim_power, not_run
from reports.judge.claims.verdicts import what_to_run
from reports.judge.estimate import Component, Estimate
from reports.judge.part import Part
from reports.read.folder import Folder
from reports.read.scopes import BUILT_IN_POOLS, Scope
from reports.render.words.verdict_words import reason_words
from tests.support.planted import Plan, by_claim, forget_journal, plant


def part(se: float, tasks: tuple[str, ...] = ("a",), effect: float = 0.0, **settings: object) -> Part:
    """A part whose variance is one half seeds, one half groups."""
    terms = (Component(se**2 / 2, 2, "seeds"), Component(se**2 / 2, 99, "groups"))
    return Part("CAR-FT - FT", Estimate(effect, terms, 3, 100), (), tasks, **settings)  # type: ignore[arg-type]


def test_parts_of_different_tasks_multiply_and_of_the_same_task_the_weakest_counts() -> None:
    one = claim_power([part(0.01)])
    assert 0.1 < one < 0.9
    assert claim_power([part(0.01), part(0.01)]) == pytest.approx(one)
    assert claim_power([part(0.01), part(0.001)]) == pytest.approx(one)
    nine = [part(0.01, (task,)) for task in nine_tasks()]
    assert claim_power(nine) == pytest.approx(one**9)
    assert math.isnan(claim_power([part(0.01, side="around")]))


SMALL = Plan(
    top1={"zeroshot": 0.6, "ft": 0.6, "car_ft": 0.62},
    context={"zeroshot": 0.8, "ft": 0.8, "car_ft": 0.8},
    seeds=(1, 2),
    spread=0.3,
    groups=20,
)


def test_power_stands_beside_a_verdict_and_changes_none(store: Store, tmp_path: Path) -> None:
    plant(store, nine_tasks(), SMALL)
    open_one = by_claim(store)["C5"]
    assert open_one.verdict == "inconclusive" and "It is at least -" in reason_words(open_one)
    sure = replace(SMALL, top1={"zeroshot": 0.2, "ft": 0.2, "car_ft": 0.95}, spread=0.02)
    plant(Store(tmp_path / "sure"), nine_tasks(), sure)
    decided = by_claim(Store(tmp_path / "sure"))["C5"]
    assert decided.verdict == "suggested reproduced"
    for verdict in (open_one, decided):
        assert verdict.power is not None and verdict.power < 0.2


def test_c9_does_not_read_zero_shot_accuracy_off_the_test_images(store: Store) -> None:
    for place, task in enumerate(nine_tasks()):
        top1 = {"zeroshot": 0.3 + 0.05 * place, "ft": 0.4, "car_ft": 0.4 + 0.05 * place}
        plant(store, [task], replace(SMALL, top1=top1, spread=0.02, groups=40))
    forget_journal(store)  # which would name what is changed below
    before = by_claim(store)["C9"]
    assert (before.number.unit, before.number.n_tasks) == ("rank correlation", 9)
    assert before.number.effect is not None and before.number.effect > 0.6
    for task in nine_tasks():  # other test predictions of the pretrained model, the same on validation images
        cell = specify(task, "zeroshot", {}, 0)
        given = store.predictions(cell.id, "test")
        store.add_evaluation(cell.id, "test", {"test/top1": 0.5}, replace(given, logits=given.logits[:, ::-1]), {})
    after = by_claim(store)["C9"]
    assert (before.number, before.verdict) == (after.number, after.verdict) and before.verdict == "suggested reproduced"


TASK = NamedTask("animals", "v", ("clinic",), ("home",), ("cat", "dog"), ("a {}.", "a {}."))
MODEL = ("icons-resnet", "/somewhere/w.pt#sha256:" + 64 * "a")


def scope_of(*tasks: NamedTask) -> Any:
    catalog = BUILT_IN.with_tasks(tasks)
    pool = catalog.pool(tasks[0].name, catalog.pools(()))
    return SimpleNamespace(scope=Scope(pool, "own", *MODEL), name="animals", scale="own")


@pytest.mark.parametrize(
    ("claim", "missing", "command"),
    [
        ("C5", "several tasks of one family in the tasks file", ""),
        ("C9", "several tasks of one family in the tasks file", ""),
        ("C6b", "leave_one_out in the tasks file", ""),
        ("C4", "domains under shift", ""),
        ("C11", "readings other than the default", "python cli.py sweep readings --tasks-file FILE"),
    ],
)
def test_on_own_data_the_next_step_is_a_sweep_with_the_same_model_or_none_where_data_are_missing(
    claim: str, missing: str, command: str
) -> None:
    verdict = not_run(ledger()[claim], scope_of(TASK), *what_to_run(ledger()[claim], scope_of(TASK)))
    reason = reason_words(replace(verdict, scope=""))
    assert missing in reason and ("Run: " in reason) == bool(command)
    assert verdict.command == (f"{command} --model icons-resnet --pretrained FILE" if command else "")


def test_on_the_built_in_world_the_model_of_the_folder_is_kept_and_claims_of_the_paper_name_its_data() -> None:
    icons: Pool = BUILT_IN_POOLS["icons-3/all"]
    evidence: Any = SimpleNamespace(scope=Scope(icons, "miniature", *MODEL), scale="miniature")
    nine = BUILT_IN_POOLS["icons-3"].command
    assert what_to_run(ledger()["C5"], evidence)[1] == f"{nine} --model icons-resnet --pretrained FILE"
    assert what_to_run(ledger()["C6"], evidence)[1] == "python cli.py sweep domainbed --data ROOT"


def test_a_printed_command_has_the_path_of_the_tasks_file_which_no_published_file_has() -> None:
    tasks = [replace(TASK, name=f"zoo/{name}", file="/data/my tasks.yaml") for name in ("a", "b")]
    catalog = BUILT_IN.with_tasks([*tasks, replace(TASK, name="zoo/c", file="/other.yaml")])
    studies: Any = [SimpleNamespace(task=name) for name in ("zoo/a", "zoo/b", "icons-3/all")]
    folder = Folder(Store("unused"), catalog, {}, {}, studies)
    command = in_folder("sweep downstream --tasks-file FILE --pretrained FILE", "results", folder.tasks_file)
    assert command == "sweep downstream --tasks-file '/data/my tasks.yaml' --pretrained FILE"
    assert replace(folder, studies=[*studies, SimpleNamespace(task="zoo/c")]).tasks_file == ""


def test_the_recipe_beside_a_results_folder_is_proposed_for_it(tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").write_text("extends: downstream\n", encoding="utf-8")
    place = str(tmp_path / "results")
    command = in_folder("python cli.py sweep downstream --tasks-file FILE", place, "/data/carft.yaml")
    assert command == f"python cli.py sweep {tmp_path}/recipe.yaml --results {place}"
    with pytest.raises(UserError, match=re.escape(command)):
        Store(place).require_present()
