"""A recipe of one's own: what it takes from the one that it extends, what is refused, and the commands."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from carft.config.registry import learning_rate_range
from carft.core.errors import UserError
from carft_cli.sweep_settings import range_of_model, ranged, tasks_of
from sweeps.recipes import load_recipe
from tests.support.folder import draw_pets
from tests.support.helpers import run_cli

FIVE = """extends: downstream
tasks_file: carft.yaml
model: icons-resnet
pretrained: icons
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


def test_a_recipe_names_the_family_of_its_tasks(mine: Path) -> None:
    tasks = [f"  - {{name: {name}, path: pets, id_domains: [photo, scan]}}" for name in ("cats", "dogs", "zoo/own")]
    (mine.parent / "carft.yaml").write_text("\n".join(["tasks:", *tasks]))
    mine.write_text(f"{FIVE}family: emoji\n")
    recipe = load_recipe(str(mine))
    assert tasks_of(recipe)[0] == ["emoji/cats", "emoji/dogs", "zoo/own"]
    assert tasks_of(recipe, ["dogs", "zoo/own"])[0] == ["emoji/dogs", "zoo/own"]
    mine.write_text("extends: downstream\nfamily: emoji\n")
    with pytest.raises(UserError, match="line 2: family: a family is for the tasks of a tasks_file"):
        load_recipe(str(mine))


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("trials: many", "mine.yaml, line 6: trials:"),
        ("smoke: {combinations: 2}", "smoke has combinations, which are of readings, and the recipe has none"),
        ("training: {epochs: 0}", "mine.yaml, line 6: training.epochs:"),
        ("training:\n  momentum: 1", "mine.yaml, line 7: training.momentum: there is no such key. Known: "),
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
def test_a_mistake_is_named_with_its_line(mine: Path, line: str, says: str) -> None:
    key = line.partition(":")[0]
    given = FIVE.replace("trials: 6", "seeds: 2").splitlines(keepends=True)
    mine.write_text("".join(other for other in given if not other.startswith(f"{key}:")) + line + "\n")
    with pytest.raises(UserError) as refused:
        load_recipe(str(mine))
    assert says in str(refused.value)


@pytest.mark.parametrize(
    ("model", "lr", "expected"),
    [
        ("icons-resnet", None, {"lr": (1e-4, 3e-3)}),
        ("ViT-B-16", None, {}),  # the recipe's own model
        ("icons-resnet", "  lr: {low: 1.0e-5, high: 1.0e-2, first_guess: 1.0e-4}", {}),
    ],
)
def test_the_learning_rates_are_those_of_the_model(
    mine: Path, model: str, lr: str | None, expected: dict[str, tuple[float, float]]
) -> None:
    text = FIVE.replace("tasks_file: carft.yaml", "tasks: [icons/tools]").replace("icons-resnet", model)
    mine.write_text(text + (f"space:\n{lr}\n" if lr else ""))
    recipe = load_recipe(str(mine))
    assert range_of_model(recipe.changed(), recipe) == expected


def test_a_recipe_that_extends_another_is_searched_as_the_other_with_its_model(mine: Path) -> None:
    """So that the command that a report proposes goes on with the studies of the recipe."""
    mine.write_text(FIVE.replace("tasks_file: carft.yaml", "tasks: [icons/tools]"))
    own, other = load_recipe(str(mine)), load_recipe("downstream")
    model = {"model": "icons-resnet", "pretrained": "icons"}
    spaces = [
        ranged(changed, recipe, {}).space
        for changed, recipe in ((own.changed(), own), (other.changed(["icons/tools"], **model), other))
    ]
    assert spaces[0] == spaces[1] and spaces[0]["lr"].first_guess == pytest.approx((1e-4 * 3e-3) ** 0.5)


def test_readings_of_tasks_without_the_catalogs_templates_leave_those_out() -> None:
    readings = load_recipe("readings").readings
    assert readings is not None and readings.factors["context_templates"] == ["imagenet", "domains"]
    fewer = readings.without_templates({"imagenet", "own"})
    assert fewer.factors["context_templates"] == ["domains"] and len(fewer.listed()) == len(readings.listed()) - 1
    none = readings.without_templates({"imagenet", "domains"})
    assert "context_templates" not in none.factors
    assert load_recipe("readings").changed(["icons/all"]).readings == readings


def test_readings_run_on_a_folder_of_one_s_own(mine: Path) -> None:
    asked = ("--tasks-file", mine.parent / "carft.yaml", "--model", "icons-resnet", "--pretrained", "icons", "--json")
    plan = run_cli("plan", "readings", *asked)
    assert plan.returncode == 0, plan.stderr


def test_a_model_of_the_command_line_has_its_own_learning_rates() -> None:
    recipe = load_recipe("downstream")
    changed = recipe.changed(["icons/tools"], model="icons-resnet", pretrained="icons")
    assert range_of_model(changed, recipe) == {"lr": (1e-4, 3e-3)}
    assert range_of_model(load_recipe("miniature").changed(["icons/tools"]), load_recipe("miniature")) == {}
    assert learning_rate_range(86_000_000) == (3e-6, 1e-4) and learning_rate_range(38_000_000) == (1e-5, 1e-3)


def test_the_commands_list_and_show(mine: Path) -> None:
    listed = json.loads(run_cli("recipes", "ls", "--json").stdout)
    assert {row["recipe"] for row in listed} >= {"downstream", "miniature"}
    shown = run_cli("recipes", "show", mine)
    assert "extends" not in shown.stdout and "batch_size: 128" in shown.stdout and "trials: 6" in shown.stdout
    (mine.parent / "carft.yaml").write_text("tasks:\n  - {name: zoo/pets, path: none}\n")
    refused = run_cli("plan", mine, "--results", mine.parent / "results")
    assert refused.returncode == 2 and "There is no folder" in refused.stderr


def test_a_plan_of_it_is_made(mine: Path) -> None:
    planned = run_cli("plan", mine, "--results", mine.parent / "results", "--json")
    assert "Learning rates: 0.0001 to 0.003, for an image encoder of 1.36 million" in " ".join(planned.stderr.split())
    found = json.loads(planned.stdout)
    assert [row["task"] for row in found["tasks"]] == ["zoo/pets"] and found["tasks"][0]["search"] == 12
    refused = run_cli("plan", mine, "--id-domains", "photo", "--results", mine.parent / "results")
    assert refused.returncode == 2 and "chooses the domains" in refused.stderr
