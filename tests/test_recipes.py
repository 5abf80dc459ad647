"""Recipes are checked before anything starts, and a mistake is shown with its line."""

from __future__ import annotations

import re
from importlib.resources import files

import pytest
from hypothesis import given
from hypothesis import strategies as st

from carft.data.catalog import DOWNSTREAM_ICONS
from carft.errors import Refusal
from sweeps.recipes import Recipe, load_recipe, parse_recipe, recipe_names

TEXT = files("sweeps.recipes").joinpath("miniature.yaml").read_text(encoding="utf-8")


def line_of(text: str, part: str) -> int:
    return 1 + next(i for i, line in enumerate(text.splitlines()) if part in line)


def refusal(text: str) -> str:
    with pytest.raises(Refusal) as refused:
        parse_recipe(text, "mine.yaml")
    return refused.value.message


def test_the_shipped_recipes_load() -> None:
    assert "downstream" in recipe_names()
    for name in recipe_names():
        recipe = load_recipe(name)
        assert recipe.name == name
        assert recipe.changed(None, None, None, None) == recipe
        assert recipe.training_of().epochs == recipe.training.epochs


def test_the_downstream_recipe_asks_nine_tasks_with_and_without_the_context_term() -> None:
    recipe = load_recipe("miniature")
    assert tuple(recipe.tasks) == DOWNSTREAM_ICONS
    assert {"zeroshot", "ft", "car_ft"} <= set(recipe.methods)


def test_an_unknown_recipe_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(Refusal, match="downstream"):
        load_recipe("downstraem")


def test_an_unknown_key_is_refused_with_its_line() -> None:
    text = TEXT.replace("search_seed:", "colour: blue\nsearch_seed:", 1)
    assert refusal(text).startswith(f"mine.yaml, line {line_of(text, 'colour: blue')}: colour:")


def test_an_unknown_key_inside_a_section_is_refused_with_its_line() -> None:
    text = TEXT.replace("  clip:", "  momentum: 0.9\n  clip:", 1)
    assert refusal(text).startswith(f"mine.yaml, line {line_of(text, 'momentum')}: training.momentum:")


@pytest.mark.parametrize(
    ("pattern", "wrong", "where"),
    [
        (r"^  batch_size: \d+", "  batch_size: many", "training.batch_size"),
        (r"^  batch_size: \d+", "  batch_size: 0", "training.batch_size"),
        (r"^  warmup: \S+", "  warmup: 1.0", "training.warmup"),
        (r"^  weight_decay: \S+", "  weight_decay: -0.1", "training.weight_decay"),
        (r"^round_size: \d+", "round_size: 2.5", "round_size"),
        (r"^search_seed: \d+", "search_seed: '0'", "search_seed"),
        (r"^methods: .*$", "methods: ft", "methods"),
        (r"^methods: .*$", "methods: [ft, 3]", "methods.1"),
    ],
)
def test_a_value_that_cannot_be_is_refused_with_its_line(pattern: str, wrong: str, where: str) -> None:
    text, count = re.subn(pattern, wrong, TEXT, count=1, flags=re.MULTILINE)
    assert count == 1
    assert refusal(text).startswith(f"mine.yaml, line {line_of(text, wrong.strip())}: {where}:")


def test_a_missing_key_is_named() -> None:
    text = re.sub(r"^round_size: .*$", "", TEXT, flags=re.MULTILINE)
    assert "round_size" in refusal(text)


@pytest.mark.parametrize("text", ["", "- a\n- b\n", "just words", "name: [unclosed"])
def test_what_is_no_recipe_at_all_is_refused(text: str) -> None:
    assert "mine.yaml" in refusal(text)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ((["icons/nowhere"], None, None, None), "task"),
        ((None, ["car-ft"], None, None), "car_ft"),
        ((None, ["zeroshot", "wise_ft"], None, None), "Add ft or car_ft"),
        ((None, None, 0, None), "trials"),
        ((None, None, None, -1), "seeds"),
    ],
)
def test_names_and_numbers_given_on_the_command_line_are_checked(change: tuple, message: str) -> None:
    with pytest.raises(Refusal, match=message):
        load_recipe("miniature").changed(*change)


def test_what_the_command_line_overrides_is_overridden_and_nothing_else() -> None:
    recipe = load_recipe("miniature")
    changed = recipe.changed(["icons/body"], ["ft"], 7, 2)
    assert (changed.tasks, changed.methods, changed.trials, changed.seeds) == (["icons/body"], ["ft"], 7, 2)
    assert changed.training == recipe.training
    assert changed.round_size == recipe.round_size


def test_a_smoke_run_is_the_same_experiment_made_small() -> None:
    recipe = load_recipe("miniature")
    small = recipe.smoked()
    assert (small.tasks, small.methods) == (recipe.tasks, recipe.methods)
    assert (small.trials, small.seeds) == (recipe.smoke.trials, recipe.smoke.seeds)
    assert small.training_of().epochs == recipe.smoke.epochs
    assert small.training_of().batch_size == recipe.training.batch_size


@given(st.integers(1, 20), st.integers(0, 25))
def test_confirm_seeds_are_fresh_and_as_many_as_asked_for(seeds: int, search_seed: int) -> None:
    recipe: Recipe = load_recipe("miniature").model_copy(update={"seeds": seeds, "search_seed": search_seed})
    found = recipe.confirm_seeds()
    assert len(set(found)) == len(found) == seeds
    assert search_seed not in found
