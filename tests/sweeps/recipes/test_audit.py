"""Audits: which sweeps they consist of, and what a mistake in one says."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

import pytest

from carft.config.registry import METHODS
from carft.core.errors import UserError
from sweeps.recipes.audit import load_audit
from sweeps.recipes.yaml_files import names_in

OWN = """
name: mine
question: Does it hold?
parts:
  - {name: first, answers: C3, recipe: miniature, methods: [zeroshot, ft], trials: 2}
  - {name: second, answers: C6b, recipe: miniature-domains}
smoke_tasks: {miniature: icons/transport}
"""


def written(tmp_path: Path, text: str) -> str:
    path = tmp_path / "mine.yaml"
    path.write_text(text, encoding="utf-8")
    return str(path)


def test_every_part_of_a_shipped_audit_is_a_recipe_that_runs() -> None:
    for name in names_in(files("sweeps.recipes") / "audits"):
        audit = load_audit(name)
        for small in (False, True):
            found = audit.sweeps(smoke=small)
            assert [one.part for one in found] == audit.parts
            assert all(one.recipe.tasks and one.recipe.methods for one in found)


def test_the_miniature_audit_runs_every_method_and_a_second_architecture() -> None:
    found = load_audit("miniature").sweeps()
    assert {method for one in found for method in one.recipe.methods} == set(METHODS)
    assert {one.recipe.model for one in found} == {None, "icons-vit"}
    assert any(one.recipe.readings for one in found) and any(one.recipe.oracle for one in found)


def test_a_part_changes_what_it_names_and_nothing_else(tmp_path: Path) -> None:
    first, second = load_audit(written(tmp_path, OWN)).sweeps()
    assert (first.recipe.methods, first.recipe.trials, first.recipe.seeds) == (["zeroshot", "ft"], 2, 2)
    assert second.recipe.methods == ["zeroshot", "ft", "car_ft"]


def test_the_smallest_run_has_one_task_and_the_size_of_a_smoke_run(tmp_path: Path) -> None:
    first, second = load_audit(written(tmp_path, OWN)).sweeps(smoke=True)
    assert (first.recipe.tasks, first.recipe.trials, first.recipe.seeds) == (["icons/transport"], 1, 2)
    assert len(second.recipe.tasks) == 5


def test_some_parts_keep_their_order(tmp_path: Path) -> None:
    audit = load_audit(written(tmp_path, OWN))
    assert [one.part.name for one in audit.sweeps(["second", "first"])] == ["first", "second"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (OWN.replace("recipe: miniature,", "recepie: miniature,"), "mine.yaml, line 5"),
        (OWN.replace("trials: 2", "trials: 0"), "mine.yaml, line 5"),
        (OWN[: OWN.index("parts")], "parts"),
        ("name: [", "is not YAML"),
    ],
)
def test_a_mistake_is_named_with_its_line(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        load_audit(written(tmp_path, text))


def test_unknown_audits_parts_and_recipes_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="There is no audit 'miniatur'"):
        load_audit("miniatur")
    with pytest.raises(UserError, match="cannot be read"):
        load_audit(str(tmp_path / "none.yaml"))
    with pytest.raises(UserError, match="There is no part 'frist'"):
        load_audit(written(tmp_path, OWN)).sweeps(["frist"])
    with pytest.raises(UserError, match="There is no recipe 'miniture'"):
        load_audit(written(tmp_path, OWN.replace("recipe: miniature,", "recipe: miniture,"))).sweeps()
