"""Audits: several sweeps that share a results folder and one report."""

from collections.abc import Callable, Mapping, Sequence
from importlib.resources import files
from pathlib import Path

from pydantic import Field, PositiveInt

from carft.config.settings import Selection
from carft.core.errors import unknown
from carft.core.files import given_path
from carft.core.yaml_file import parse_yaml
from sweeps.recipes.choices import Strict
from sweeps.recipes.loading import ENDINGS, load_recipe, text_of
from sweeps.recipes.recipe import Recipe


class AuditPart(Strict):
    """One sweep of an audit: a recipe, and what it changes of it as the options of ``sweep`` do.

    Another model keeps the learning rates of the recipe, if it has any.
    """

    name: str
    answers: str
    """What the part decides, as a clause."""
    recipe: str
    """Shipped, by name, or a file that ends in .yaml, from the folder of the audit."""
    tasks: list[str] | None = None
    methods: list[str] | None = None
    trials: PositiveInt | None = None
    seeds: PositiveInt | None = None
    searches: PositiveInt | None = None
    selection: Selection | None = None
    model: str | None = None
    pretrained: str | None = None
    oracle: bool | None = None

    def chosen(self, load: Callable[[str], Recipe], smoke_tasks: Mapping[str, str] | None = None) -> Recipe:
        """The recipe of the part. load: reads it. smoke_tasks: recipe -> the only task, for the smallest run."""
        recipe, changes = load(self.recipe), self.model_dump(exclude={"name", "answers", "recipe"})
        if smoke_tasks is not None:
            recipe, changes = recipe.smoked(), changes | dict.fromkeys(("trials", "seeds", "searches"))
            if self.recipe in smoke_tasks:
                changes["tasks"] = [smoke_tasks[self.recipe]]
        return recipe.changed(**changes)


class Audit(Strict):
    """The parts of an audit, in the order in which they run."""

    name: str
    question: str
    parts: list[AuditPart] = Field(min_length=1)
    smoke_tasks: dict[str, str] = Field(default_factory=dict)
    """Recipe -> the only task of its parts in the smallest run; a recipe that is not named keeps its tasks."""

    def sweeps(
        self, only: Sequence[str] | None = None, smoke: bool = False, load: Callable[[str], Recipe] = load_recipe
    ) -> list[tuple[AuditPart, Recipe]]:
        """The parts of the audit, or some of them, with their recipes; ``UserError`` for a part that it has not.

        load: reads a recipe, so that it knows the tasks of its tasks file.
        """
        names = [part.name for part in self.parts]
        for name in only or ():
            if name not in names:
                raise unknown("part", name, names)
        small = self.smoke_tasks if smoke else None
        return [(part, part.chosen(load, small)) for part in self.parts if only is None or part.name in only]


def load_audit(name: str) -> Audit:
    """A shipped audit by name, or your own: a file that ends in .yaml. ``UserError`` for what is neither."""
    audit = parse_yaml(Audit, *text_of(name, "audit", files("sweeps.recipes") / "audits"), "audit")
    folder = Path(name).parent
    parts, smoke_tasks = [], {}
    for part in audit.parts:
        parts.append(part.model_copy(update={"recipe": _placed(part.recipe, folder)}))
    for recipe, task in audit.smoke_tasks.items():
        smoke_tasks[_placed(recipe, folder)] = task
    return audit.model_copy(update={"parts": parts, "smoke_tasks": smoke_tasks})


def _placed(recipe: str, folder: Path) -> str:
    """The path of a recipe that is a file, which lies beside the audit; else its name."""
    return str(folder / given_path(recipe)) if recipe.endswith(ENDINGS) else recipe
