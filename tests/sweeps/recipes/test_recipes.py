"""Recipes are checked before anything starts, and a mistake is shown with its line."""

from __future__ import annotations

import re
from dataclasses import replace
from importlib.resources import files
from pathlib import Path

import pytest

from carft.catalog.catalog import BUILT_IN
from carft.catalog.families import DOWNSTREAM
from carft.config.registry import METHODS, learning_rate_range
from carft.core.errors import UserError
from carft.protocol.seeds import search_seed_of
from carft_cli.declare import arguments_of, parameters_of
from carft_cli.sweep_settings import SweepSettings
from sweeps.recipes.choices import Readings
from sweeps.recipes.loading import load_recipe, parse_recipe, recipe_names
from sweeps.recipes.ranges import range_of_model, ranged
from sweeps.search.study import studies_of
from tests.support.folder import draw_pets
from tests.support.helpers import run_cli

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
        assert resolved.model_copy(update={"tasks": recipe.tasks}).model_dump() == recipe.model_dump()
        assert all(BUILT_IN.card(task).name == task for task in resolved.tasks)
        assert recipe.expect


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
        (r"^  weight_decay: \S+", "  weight_decay: -0.1", "training.weight_decay"),
        (r"^search_seed: \d+", "search_seed: 2.5", "search_seed"),
        (r"^methods: .*$", "methods: ft", "methods"),
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
        ({"sampler": "tpe"}, "tries the values of its grid, and the trials of the sampler tpe depend on results"),
        ({"sampler": "random"}, "--sampler has no meaning"),
        ({"methods": ["ft", "car_ft", "wise_ft"]}, "wise_ft is made of the winner"),
    ],
)
def test_what_needs_a_search_is_refused_of_a_grid(change: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        load_recipe("dose").changed(**change)


@pytest.mark.parametrize(
    ("sampler", "change", "message"),
    [
        (
            "tpe",
            {"trials": 4},
            r"tpe draws its first 4 trials without results, and mine has 4 in all\. Give --trials",
        ),
        ("tpe", {"selection": "shared"}, "selects one setting over several tasks, and the trials of the sampler tpe"),
        ("tea", {}, "line 3: sampler: it must be 'sobol', 'random' or 'tpe'; it is 'tea'"),
        ("{class: GPSamplr}", {}, "There is no sampler 'GPSamplr'. Did you mean GPSampler"),
        ("{n_startup_trials: 3}", {}, r"There is no sampler ''\. Known: .*sampler: {class: NAME, PARAMETER: VALUE}"),
        ("{class: TPESampler, n_startup_trials: x}", {}, "n_startup_trials of TPESampler must be a whole number"),
        ("{class: TPESampler, n_startup_trials: 9}", {}, r"\(n_startup_trials=9\) draws its first 9 trials without"),
    ],
)
def test_a_sampler_that_cannot_be_is_refused(sampler: str, change: dict, message: str) -> None:
    text = f"extends: miniature\nname: mine\nsampler: {sampler}\ntrials: 5\n"
    with pytest.raises(UserError, match=message):
        parse_recipe(text, "mine.yaml", catalog=BUILT_IN).changed(**change)


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("miniature", {"selection": "shared"}, "selects one setting over several tasks"),
        ("dose", {}, "tries the values of its grid"),
    ],
)
def test_a_pruner_that_can_stop_no_trial_is_refused(name: str, change: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        load_recipe(name).model_copy(update={"pruner": "halving"}).changed(**change)


@pytest.mark.parametrize(
    ("theirs", "ours"), [("--scheduler=asha", "--pruner"), ("--search-alg", "--sampler"), ("--num-samples", "--trials")]
)
def test_options_of_ray_are_answered_with_ours(theirs: str, ours: str) -> None:
    refused = run_cli("sweep", "miniature", theirs, "3", in_process=True)
    assert refused.returncode == 2 and f"Give {ours} " in refused.stderr


def test_a_recipe_names_a_class_of_optuna_with_parameters() -> None:
    text = "extends: miniature\nsampler: {class: TPESampler, n_startup_trials: 3, prior_weight: 2}\ntrials: 5\n"
    recipe = parse_recipe(text, "mine.yaml", catalog=BUILT_IN).changed()
    sampler = recipe.search_sampler
    assert str(sampler) == "TPESampler(n_startup_trials=3, prior_weight=2)" and not sampler.is_fixed
    assert sampler.parameters["constant_liar"] and sampler.parameters["multivariate"]
    fixed = recipe.changed(sampler="random").search_sampler
    assert fixed.is_fixed and str(fixed) == "random"


def test_a_number_needs_neither_point_nor_sign_and_a_range_no_first_guess() -> None:
    text = "extends: miniature\nspace: {lr: {low: 1e-5, high: 1e-3}, kl_weight: {low: 1E-1, high: +1e2}}\n"
    space = parse_recipe(text, "mine.yaml", catalog=BUILT_IN).space_of(METHODS["car_ft"])
    assert (space["lr"].low, space["lr"].high) == (1e-5, 1e-3) and space["kl_weight"].high == 100
    assert space["lr"].first_guess == pytest.approx(1e-4)
    with pytest.raises(UserError, match=r"line 2: space.lr: low is 0.1, and high is 0.001: write the smaller value as"):
        parse_recipe(text.replace("1e-5", "1e-1"), "mine.yaml", catalog=BUILT_IN)


def test_what_the_command_line_overrides_is_overridden_and_a_range_is_that_of_every_method_that_has_it() -> None:
    plain = load_recipe("miniature")
    changed = plain.changed(["icons-3/mix-1"], ["ft"], 7, 2)
    assert (changed.tasks, changed.methods, changed.trials, changed.seeds) == (["icons-3/mix-1"], ["ft"], 7, 2)
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
    assert small.training.epochs == recipe.smoke.epochs
    assert small.alphas == recipe.alphas
    assert small.training.batch_size == recipe.training.batch_size
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
    with pytest.raises(UserError, match="searches must be greater than or equal to 1"):
        load_recipe("miniature").changed(searches=0)
    with pytest.raises(UserError, match="too many for more than one search"):
        load_recipe("miniature").changed(seeds=999, searches=2)


FIVE = """extends: downstream
tasks_file: carft.yaml
model: icons-resnet
pretrained: icons-3
trials: 6
"""


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    """mine.yaml, a recipe of five lines on the example tree."""
    draw_pets(tmp_path)
    (tmp_path / "carft.yaml").write_text("tasks:\n  - {name: zoo/pets, path: pets, id_domains: [photo, scan]}\n")
    (tmp_path / "mine.yaml").write_text(FIVE)
    return tmp_path / "mine.yaml"


def test_five_lines_are_a_recipe(mine: Path) -> None:
    recipe, base = load_recipe(str(mine)), load_recipe("downstream")
    assert (recipe.name, recipe.trials, recipe.model) == ("mine", 6, "icons-resnet")
    assert (recipe.methods, recipe.training) == (base.methods, base.training)
    assert recipe.space == {}  # the learning rates of ViT-B/16 are not those of this model
    assert recipe.without_data is None and recipe.tasks == [] and "downstream" in recipe.expect


def test_of_a_section_only_what_is_named_is_replaced(mine: Path) -> None:
    mine.write_text(f"{FIVE}training: {{epochs: 2}}\nspace: {{kl_weight: {{low: 1, high: 2, first_guess: 1}}}}\n")
    recipe, base = load_recipe(str(mine)), load_recipe("downstream")
    assert recipe.training == replace(base.training, epochs=2)
    assert set(recipe.space) == {"kl_weight"}
    mine.write_text(mine.read_text().replace("model: icons-resnet\n", ""))
    assert load_recipe(str(mine)).space == {**recipe.space, **base.space}


def test_a_recipe_extends_one_s_own_from_its_folder(mine: Path) -> None:
    (mine.parent / "more.yaml").write_text("extends: mine.yaml\nseeds: 5\n")
    more = load_recipe(str(mine.parent / "more.yaml"))
    assert (more.trials, more.seeds, more.tasks_file) == (6, 5, str(mine.parent / "carft.yaml"))


def test_tasks_of_the_file_of_a_recipe_are_chosen_by_name_and_family(mine: Path) -> None:
    names = ("emoji/cats", "emoji/dogs", "own")
    tasks = [f"  - {{name: {name}, path: pets, id_domains: [photo, scan]}}" for name in names]
    (mine.parent / "carft.yaml").write_text("\n".join(["tasks:", *tasks]))
    mine.write_text(FIVE)
    options = {parameter.name: parameter.default for parameter in parameters_of(SweepSettings)} | {"recipe": str(mine)}
    for asked, tasks in (
        (None, list(names)),
        ("own,emoji/dogs", ["own", "emoji/dogs"]),
        ("icons-3/mix-6,emoji", ["icons-3/mix-6", "emoji/cats", "emoji/dogs"]),
    ):
        settings = SweepSettings(**arguments_of(SweepSettings, options | {"tasks": asked}))
        assert settings.chosen_recipe().tasks == tasks


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("trials: many", "mine.yaml, line 6: trials:"),
        ("training:\n  epoch: 1", "mine.yaml, line 7: training.epoch: there is no such key. Did you mean epochs?"),
        ("space:\n  lr: {lo: 1, high: 2, first_guess: 1}", "space.lr.lo: there is no such key. Did you mean low"),
        ("colour: blue", "mine.yaml, line 6: colour:"),
        ("methods: [ft, carft]", "mine.yaml, line 6: methods: There is no method 'carft'. Did you mean"),
        ("extends: 3", "'extends' needs the name of one recipe"),
        ("extends: downstraem", "Did you mean downstream"),
        ("extends: mine.yaml", "extends itself"),
        ("extends: none.yaml", "cannot be read"),
        ("tasks_file: ~nobody-here/tasks.yaml", "is no path of this machine"),
    ],
)
def test_a_mistake_in_ones_own_recipe_is_named_with_its_line(mine: Path, line: str, says: str) -> None:
    key = line.partition(":")[0]
    given = FIVE.replace("trials: 6", "seeds: 2").splitlines(keepends=True)
    mine.write_text("".join(other for other in given if not other.startswith(f"{key}:")) + line + "\n")
    with pytest.raises(UserError) as refused:
        load_recipe(str(mine))
    assert says in str(refused.value)


def test_a_recipe_that_extends_another_is_searched_as_the_other_with_its_model(mine: Path) -> None:
    """So that the command that a report proposes goes on with the studies of the recipe."""
    mine.write_text(FIVE.replace("tasks_file: carft.yaml", "tasks: [icons-3/mix-6]"))
    own, other = load_recipe(str(mine)), load_recipe("downstream")
    model = {"model": "icons-resnet", "pretrained": "icons-3"}
    spaces = [
        ranged(changed, recipe, {}, print).space
        for changed, recipe in ((own.changed(), own), (other.changed(["icons-3/mix-6"], **model), other))
    ]
    assert spaces[0] == spaces[1] and spaces[0]["lr"].first_guess == pytest.approx((1e-4 * 3e-3) ** 0.5)


def test_readings_of_tasks_without_the_catalogs_templates_leave_those_out() -> None:
    readings = load_recipe("readings").readings
    assert readings is not None and readings.factors["context_templates"] == ["imagenet", "domains"]
    fewer = readings.with_templates(lambda bank: bank == "domains")
    assert fewer.factors["context_templates"] == ["domains"] and len(fewer.listed()) == len(readings.listed()) - 1
    assert "context_templates" not in readings.with_templates(lambda bank: False).factors
    assert load_recipe("readings").changed(["icons-3/all"]).readings == readings


def test_a_reading_that_is_listed_twice_is_refused() -> None:
    """There would be fewer combinations than are asked for, and they would be drawn without end."""
    with pytest.raises(ValueError, match="crop lists a reading twice"):
        Readings(factors={"crop": [1.0, 1.0], "class_head": ["frozen"]}, combinations=16, seed=0)


def test_a_model_of_the_command_line_has_its_own_learning_rates() -> None:
    recipe = load_recipe("downstream")
    changed = recipe.changed(["icons-3/mix-6"], model="icons-resnet", pretrained="icons-3")
    assert range_of_model(changed, recipe, print) == {"lr": (1e-4, 3e-3)}
    assert range_of_model(load_recipe("miniature").changed(["icons-3/mix-6"]), load_recipe("miniature"), print) == {}
    readings = load_recipe("readings")
    assert range_of_model(readings, readings, print) == {}
    assert range_of_model(readings.changed(["imagenet"]), readings, print) == {"lr": (3e-6, 1e-4)}
    assert learning_rate_range(86_000_000) == (3e-6, 1e-4) and learning_rate_range(38_000_000) == (1e-5, 1e-3)
