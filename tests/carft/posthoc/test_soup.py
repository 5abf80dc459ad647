"""Soups: averages by hand, the greedy rule by hand, and soups of real cells from start to record."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from carft.catalog.catalog import BUILT_IN
from carft.catalog.resolve import command, interpolation, soup_of, specify
from carft.config.cell import Cell, Reading
from carft.config.registry import SoupRule
from carft.core.errors import UserError
from carft.posthoc.soup import greedy_soup, run_soup, uniform_soup
from carft.store.records import Store
from carft.training.context import CellContext
from carft.training.execution import Execution
from carft.training.run import load_network, run_cell
from sweeps.recipes.loading import load_recipe
from sweeps.recipes.recipe import Recipe
from sweeps.search.protocol import Job, Protocol
from tests.support.helpers import LR, TASK, quick_cell, run_cli
from tests.sweeps.search.test_protocol import Crew


def weights(value: float) -> dict[str, torch.Tensor]:
    return {"head.weight": torch.tensor([value, -value]), "steps": torch.tensor(3)}


def scalar(found) -> float:
    return float(found["head.weight"][0])


def test_a_uniform_soup_is_the_mean_of_its_members() -> None:
    shelf = {"a": weights(1.0), "b": weights(2.0), "c": weights(6.0)}
    soup = uniform_soup(["a", "b", "c"], shelf.__getitem__)
    assert soup["head.weight"].tolist() == pytest.approx([3.0, -3.0])
    assert int(soup["steps"]) == 3
    assert all(torch.equal(shelf[k]["head.weight"], weights(v)["head.weight"]) for k, v in (("a", 1.0), ("c", 6.0)))


def test_greedy_keeps_what_validates_no_worse_by_hand() -> None:
    """Values 4, 0, 2, 8. With 0 the soup is 2: worse, left out. With 2 it is 3: equal, kept. With 8 it is 14/3:
    better than before, kept."""
    shelf = {"a": weights(4.0), "b": weights(0.0), "c": weights(2.0), "d": weights(8.0)}
    accuracies = {2.0: 0.5, 3.0: 0.7, 14 / 3: 0.8}
    asked: list[float] = []

    def accuracy(found) -> float:
        asked.append(scalar(found))
        return next(v for k, v in accuracies.items() if abs(k - asked[-1]) < 1e-6)

    members, soup = greedy_soup(["a", "b", "c", "d"], shelf.__getitem__, accuracy, best=0.7)
    assert members == ["a", "c", "d"]
    assert scalar(soup) == pytest.approx(14 / 3)
    assert asked == pytest.approx([2.0, 3.0, 14 / 3])


def test_a_soup_is_named_by_its_parents_in_any_order_and_its_rule() -> None:
    a, b, c = (quick_cell("ft", lr=lr) for lr in (1e-4, 2e-4, 3e-4))
    soup = soup_of([a, b, c], SoupRule.UNIFORM, catalog=BUILT_IN)
    assert soup.id == soup_of([c, a, b, a], SoupRule.UNIFORM, catalog=BUILT_IN).id
    assert soup.parents == tuple(sorted(cell.id for cell in (a, b, c)))
    greedy = soup_of([a, b, c], SoupRule.GREEDY, catalog=BUILT_IN)
    of_two = soup_of([a, b], SoupRule.UNIFORM, catalog=BUILT_IN)
    assert len({soup.id, greedy.id, of_two.id}) == 3 and greedy.hyperparameters == {"greedy": 1.0}
    assert Cell.from_dict(soup.as_dict()).id == soup.id


@pytest.mark.parametrize(
    ("others", "message"),
    [
        ([], "at least two"),
        ([quick_cell("ft", lr=LR)], "at least two"),
        ([quick_cell("car_ft", lr=LR, kl_weight=1.0)], "differ in method"),
        ([quick_cell("ft", epochs=2, lr=LR)], "differ in training"),
        ([quick_cell("ft", reading=Reading(class_head="frozen"), lr=LR)], "differ in reading"),
        ([specify("icons-3/mix-9", "ft", {"lr": LR}, 0, quick_cell("ft", lr=LR).training)], "differ in task"),
    ],
)
def test_cells_that_are_no_search_of_one_study_are_not_averaged(others: list[Cell], message: str) -> None:
    with pytest.raises(UserError, match=message):
        soup_of([quick_cell("ft", lr=LR), *others], SoupRule.UNIFORM, catalog=BUILT_IN)


def test_only_trained_cells_make_soups() -> None:
    a, b = (quick_cell("ft", lr=lr) for lr in (1e-4, 2e-4))
    with pytest.raises(UserError, match="no trained weights"):
        soup_of([interpolation(a, 0.5), interpolation(b, 0.5)], SoupRule.UNIFORM, catalog=BUILT_IN)
    with pytest.raises(UserError, match="soup --cells"):
        specify(TASK, "soup", {"greedy": 0.0})


@pytest.fixture(scope="module")
def kitchen(tmp_path_factory: pytest.TempPathFactory, execution: Execution) -> tuple[Store, list[Cell]]:
    """Three finished search cells; one kept no weights."""
    store = Store(tmp_path_factory.mktemp("kitchen"))
    cells = [quick_cell("ft", lr=lr) for lr in (1e-4, 3e-4, 9e-4)]
    for cell in cells:
        run_cell(cell, store, execution, keep_weights=cell is not cells[1])
    return store, cells


@pytest.fixture(scope="module")
def context(kitchen: tuple[Store, list[Cell]], execution: Execution) -> CellContext:
    """What the cells opened."""
    _, cells = kitchen
    return CellContext.of(cells[0], execution, catalog=BUILT_IN)


@pytest.fixture(scope="module")
def soups(kitchen: tuple[Store, list[Cell]], execution: Execution) -> dict[float, str]:
    """The ids of both soups, by rule."""
    store, cells = kitchen
    return {rule: run_soup(cells, rule, store, execution)[0] for rule in SoupRule}


def test_soups_are_evaluated_on_every_set_and_found_again(
    kitchen: tuple[Store, list[Cell]], soups: dict[float, str], execution: Execution
) -> None:
    store, cells = kitchen
    for rule, soup in soups.items():
        assert soup == soup_of(cells, rule, catalog=BUILT_IN).id
        assert store.evaluated(soup) == set(BUILT_IN.card(TASK).sets)
        assert "ood/mean/top1" in store.metrics(soup)
        assert run_soup(cells[::-1], rule, store, execution) == (soup, "reused")
    assert not any(store.evaluated(cell.id) for cell in cells)


def test_a_uniform_soup_predicts_with_the_mean_weights(
    kitchen: tuple[Store, list[Cell]], soups: dict[float, str], context: CellContext
) -> None:
    """The member that kept no weights was trained again."""
    store, cells = kitchen
    shelf = [load_file(store.weights_path(cell.id)) for cell in cells]
    network = context.network()
    network.load_state_dict(
        {
            name: torch.stack([w[name].double() for w in shelf]).mean(0) if value.is_floating_point() else value
            for name, value in shelf[0].items()
        }
    )
    found = store.predictions(soups[SoupRule.UNIFORM], "val")
    expected = context.predict(cells[0], network, context.task.val)
    np.testing.assert_allclose(found.logits, expected.logits, atol=1e-3)
    assert sorted(store.read(soups[SoupRule.UNIFORM]).provenance["members"]) == sorted(cell.id for cell in cells)


def test_a_greedy_soup_starts_from_the_best_and_validates_no_worse(
    kitchen: tuple[Store, list[Cell]], soups: dict[float, str]
) -> None:
    store, cells = kitchen
    members = store.read(soups[SoupRule.GREEDY]).provenance["members"]
    order = sorted(cells, key=lambda c: (-store.metrics(c.id)["val/top1"], store.metrics(c.id)["val/loss"]))
    assert members[0] == order[0].id
    assert store.metrics(soups[SoupRule.GREEDY])["val/top1"] >= store.metrics(order[0].id)["val/top1"]


def test_a_soup_keeps_its_weights(
    kitchen: tuple[Store, list[Cell]], soups: dict[float, str], context: CellContext, tmp_path: Path
) -> None:
    store, _ = kitchen
    soup = store.read(soups[SoupRule.UNIFORM]).cell
    found = context.predict(soup, load_network(soup, context, store), context.task.val)
    assert np.array_equal(found.logits, store.predictions(soup.id, "val").logits)
    kept = store.weights_path(soup.id)
    moved = kept.rename(tmp_path / kept.name)
    with pytest.raises(UserError, match="no longer"):
        load_network(soup, context, store)
    moved.rename(kept)


def test_parents_that_are_not_done_are_refused(kitchen: tuple[Store, list[Cell]], execution: Execution) -> None:
    store, cells = kitchen
    with pytest.raises(UserError, match="not done"):
        run_soup([*cells, quick_cell("ft", lr=5e-4)], SoupRule.UNIFORM, store, execution)


@pytest.mark.slow
def test_the_command_that_makes_a_soup_again(kitchen: tuple[Store, list[Cell]], soups: dict[float, str]) -> None:
    store, _ = kitchen
    _, _, *arguments = command(store.read(soups[SoupRule.GREEDY]).cell, str(store.root), catalog=BUILT_IN).split()
    done = run_cli(*arguments, "--json")
    assert done.returncode == 0, done.stderr
    printed = json.loads(done.stdout)
    assert (printed["cell"], printed["status"]) == (soups[SoupRule.GREEDY], "reused")
    assert printed["members"] == store.read(soups[SoupRule.GREEDY]).provenance["members"]
    refused = run_cli("combine", "soup", "--cells", soups[SoupRule.GREEDY], "--results", store.root)
    assert refused.returncode == 2 and "Traceback" not in refused.stderr


def small(**change: object) -> Recipe:
    fixed = {"tasks": [TASK], "methods": ["zeroshot", "ft", "kd", "soup"], "trials": 3, "seeds": 2}
    return load_recipe("miniature").model_copy(update={**fixed, **change})


def test_a_sweep_makes_both_soups_of_a_study_s_search_cells_at_its_end(store: Store) -> None:
    protocol = Protocol(small(), store)
    jobs = Crew(store).work(protocol).finished
    assert Counter(job.kind for job in jobs) == {"search": 6, "confirm": 5, "soup": 1}
    assert len(protocol.done) == protocol.total() == 13
    (soup,) = (job for job in jobs if job.kind == "soup")
    study = next(s for s in protocol.studies if s.method.name == "ft")
    searched = [cell.id for cell in study.trial_cells]
    for rule, cell in zip(SoupRule, soup.cells(), strict=True):
        assert sorted(cell.parents) == sorted(searched)
        assert cell.id == soup_of([store.read(c).cell for c in searched], rule, catalog=BUILT_IN).id
    ends = [jobs.index(Job("search", store.read(cell).cell)) for cell in searched]
    assert max(ends) < jobs.index(soup)
    assert {job.cell.id for job in jobs if job.kind == "search" and job.keep_weights} == set(searched)
    assert Protocol(small(), store).finished()


def test_without_soups_search_cells_keep_no_weights(store: Store) -> None:
    jobs = Crew(store).work(Protocol(small(methods=["ft"]), store)).finished
    assert not any(job.keep_weights for job in jobs)


def test_failed_trials_are_left_out_of_a_soup(store: Store) -> None:
    protocol = Protocol(small(methods=["ft", "soup"]), store)
    lost = protocol.studies[0].trial_cells[0]
    jobs = Crew(store).work(protocol, fails=lambda job: job.cell.id == lost.id).finished
    (soup,) = (job for job in jobs if job.kind == "soup")
    assert len(soup.cell.parents) == 2 and lost.id not in soup.cell.parents
