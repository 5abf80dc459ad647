"""Recipes are checked before anything starts, and a mistake is shown with its line."""

from __future__ import annotations

import re
from importlib.resources import files
from pathlib import Path

import pytest

from carft.config.catalog import BUILT_IN
from carft.config.registry import METHODS
from carft.config.study import search_seed_of
from carft.core.errors import UserError
from carft.data.catalog import DOWNSTREAM
from reports.evidence.references import reference_numbers
from sweeps.recipes import load_recipe, parse_recipe, recipe_names
from sweeps.search.study import studies_of

TEXT = files("sweeps.recipes").joinpath("miniature.yaml").read_text(encoding="utf-8")


def line_of(text: str, part: str) -> int:
    return 1 + next(i for i, line in enumerate(text.splitlines()) if part in line)


def refusal(text: str) -> str:
    with pytest.raises(UserError) as refused:
        parse_recipe(text, "mine.yaml", catalog=BUILT_IN)
    return refused.value.message


def test_the_shipped_recipes_load() -> None:
    assert "downstream" in recipe_names()
    for name in recipe_names():
        recipe = load_recipe(name)
        assert recipe.name == name
        resolved = recipe.changed()
        assert resolved.model_copy(update={"tasks": recipe.tasks}) == recipe
        assert all(BUILT_IN.card(task).name == task for task in resolved.tasks)
        assert recipe.expect
        assert recipe.training_of().epochs == recipe.training.epochs


def test_the_paper_scale_recipes_ask_what_the_paper_asks() -> None:
    assert tuple(load_recipe("downstream").tasks) == DOWNSTREAM
    assert load_recipe("ood").tasks == ["imagenet"]
    tasks = load_recipe("domainbed").changed().tasks
    assert len(tasks) == 4 * 4 + 6  # one per domain that is held out
    for name in ("downstream", "ood", "domainbed", "clipood"):
        recipe = load_recipe(name)
        assert (recipe.model, recipe.pretrained) == ("ViT-B-16", "openai")
        assert {BUILT_IN.card(task).scale for task in recipe.changed().tasks} == {"paper"}
        assert "Scale paper" in recipe.expect
        highest = 10**-3.499 if name == "domainbed" else 1e-4  # DomainBed's own range ends at 10^-3.5
        assert recipe.space_of(METHODS["car_ft"])["lr"].high <= highest


def test_the_expectations_at_paper_scale_are_those_of_the_reference_table() -> None:
    known = reference_numbers()
    rows = known[(known["method"] == "CAR-FT") & (known["backbone"] == "CLIP ViT-B/16")]
    expected = load_recipe("ood").expect
    for name in ("ImageNet", "ImageNet-V2", "ImageNet-R", "ImageNet-A", "ImageNet-Sketch"):
        value = rows[rows["dataset"] == name]["value"].item()
        assert f"{value:.2f}" in expected


def test_the_readings_are_the_default_every_single_change_and_sixteen_combinations() -> None:
    readings = load_recipe("readings").readings
    assert readings is not None
    listed = readings.listed()
    single = sum(map(len, readings.factors.values()))
    assert [len(choice.factors) for choice in listed[: 1 + single]] == [0] + [1] * single
    combined = listed[1 + single :]
    assert len(combined) == 16 and min(len(choice.factors) for choice in combined) >= 2
    assert len({tuple(sorted(choice.factors.items())) for choice in listed}) == len(listed)
    assert listed == readings.listed()


@pytest.mark.parametrize(
    ("pattern", "wrong", "where"),
    [
        (r"^  batch_size: \d+", "  batch_size: many", "training.batch_size"),
        (r"^  batch_size: \d+", "  batch_size: 0", "training.batch_size"),
        (r"^  warmup: \S+", "  warmup: 1.0", "training.warmup"),
        (r"^  weight_decay: \S+", "  weight_decay: -0.1", "training.weight_decay"),
        (r"^search_seed: \d+", "search_seed: 2.5", "search_seed"),
        (r"^search_seed: \d+", "search_seed: '0'", "search_seed"),
        (r"^methods: .*$", "methods: ft", "methods"),
        (r"^searches: \d+", "colour: blue", "colour"),
        (r"^  clip: \S+", "  momentum: 0.9", "training.momentum"),
        (r"^methods: .*$", "methods: [ft, 3]", "methods.1"),
    ],
)
def test_a_value_that_cannot_be_is_refused_with_its_line(pattern: str, wrong: str, where: str) -> None:
    text, count = re.subn(pattern, wrong, TEXT, count=1, flags=re.MULTILINE)
    assert count == 1
    assert refusal(text).startswith(f"mine.yaml, line {line_of(text, wrong.strip())}: {where}:")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"trials": 3}, "--trials has no meaning"),
        ({"oracle": True}, "--oracle has no meaning"),
        ({"methods": ["ft", "car_ft", "wise_ft"]}, "wise_ft is made of the winner"),
    ],
)
def test_what_needs_a_search_is_refused_of_a_grid(change: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        load_recipe("dose").changed(**change)


def test_what_the_command_line_overrides_is_overridden_and_a_range_is_that_of_every_method_that_has_it() -> None:
    plain = load_recipe("miniature")
    changed = plain.changed(["icons/body"], ["ft"], 7, 2)
    assert (changed.tasks, changed.methods, changed.trials, changed.seeds) == (["icons/body"], ["ft"], 7, 2)
    assert (changed.training, changed.search_seed) == (plain.training, plain.search_seed)
    recipe = plain.changed().with_ranges({"lr": (1e-5, 1e-2), "kl_weight": (2.0, 200.0)})
    spaces = {s.method.name: s.content["space"] for s in studies_of(recipe, [METHODS["ft"], METHODS["car_ft"]])}
    assert spaces["ft"]["lr"] == spaces["car_ft"]["lr"] == [1e-5, 1e-2, 1e-3]  # the first guess lies in the range
    assert spaces["car_ft"]["kl_weight"] == [2.0, 200.0, pytest.approx(20.0)]  # 1 does not
    paper = load_recipe("downstream").with_ranges({"lr": (1e-6, 1e-4)})
    assert paper.space_of(METHODS["ft"])["lr"].first_guess == 3e-5  # that of the recipe


def test_a_smoke_run_is_the_same_experiment_made_small() -> None:
    recipe = load_recipe("miniature-full")
    small = recipe.smoked()
    assert (small.tasks, small.methods) == (recipe.tasks, recipe.methods)
    assert (small.trials, small.seeds) == (recipe.smoke.trials, recipe.smoke.seeds)
    assert small.training_of().epochs == recipe.smoke.epochs
    assert small.alphas == recipe.alphas
    assert small.training_of().batch_size == recipe.training.batch_size
    fewer = load_recipe("miniature")
    assert fewer.smoked().methods == fewer.smoke.methods != fewer.methods
    readings = load_recipe("readings")
    few, every = (one.readings.listed() for one in (readings.smoked(), readings))
    assert few == every[: len(few)] and len(few) < len(every)
    assert {name for one in few for name in one.factors} == set(readings.readings.factors)


@pytest.mark.parametrize("search_seed", [0, 2, 999, 1001])
def test_no_two_searches_share_a_seed_and_more_seeds_keep_those_there_were(search_seed: int) -> None:
    recipe = load_recipe("miniature").model_copy(update={"seeds": 3, "searches": 3, "search_seed": search_seed})
    seeds = [[search_seed_of(recipe.search_seed, search), *recipe.confirm_seeds(search)] for search in (1, 2, 3)]
    assert len({seed for each in seeds for seed in each}) == 3 * 4
    larger = recipe.model_copy(update={"seeds": 5, "searches": 4})
    assert [larger.confirm_seeds(search)[:3] for search in (1, 2, 3)] == [each[1:] for each in seeds]
    alone = recipe.model_copy(update={"searches": 1})
    assert alone.confirm_seeds() == seeds[0][1:] and search_seed_of(alone.search_seed, 1) == search_seed


@pytest.mark.parametrize("alphas", [[0, 1], [0.5], [0, 0.3, 0.5, 1], []])
def test_curves_have_the_middle_and_both_ends(tmp_path: Path, alphas: list[float]) -> None:
    (tmp_path / "own.yaml").write_text(f"extends: miniature\nalphas: {alphas}\n")
    with pytest.raises(UserError, match=r"alphas are 0, 0\.5 and 1"):
        load_recipe(str(tmp_path / "own.yaml"))


def test_searches_are_asked_for_and_a_smoke_run_has_one() -> None:
    assert load_recipe("miniature").changed(searches=3).searches == 3
    assert load_recipe("miniature").model_copy(update={"searches": 3}).smoked().searches == 1
    with pytest.raises(UserError, match="searches must be a whole number of at least 1"):
        load_recipe("miniature").changed(searches=0)
    with pytest.raises(UserError, match="too many for more than one search"):
        load_recipe("miniature").changed(seeds=999, searches=2)
