"""Recipes: what an experiment runs, as YAML beside the result to expect."""

from __future__ import annotations

from importlib.resources import files

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from carft.cell import Training
from carft.data.catalog import card
from carft.errors import Refusal, unknown
from carft.methods import SOUPED, method_card


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class TrainingRecipe(_Strict):
    """The fixed part of training; see :class:`carft.cell.Training`."""

    epochs: int = Field(ge=1)
    batch_size: int = Field(ge=1)
    weight_decay: float = Field(ge=0)
    warmup: float = Field(ge=0, lt=1)
    clip: float = Field(gt=0)
    crop: float = Field(gt=0, le=1)


class Smoke(_Strict):
    """What a smoke run changes."""

    trials: int = Field(ge=1)
    seeds: int = Field(ge=1)
    epochs: int = Field(ge=1)


class Recipe(_Strict):
    """One experiment: tasks x methods, the search budget and the training recipe."""

    name: str
    question: str
    tasks: list[str]
    methods: list[str]
    trials: int = Field(ge=1)
    seeds: int = Field(ge=1)
    round_size: int = Field(ge=1)
    search_seed: int = Field(ge=0)
    training: TrainingRecipe
    smoke: Smoke
    expect: str = ""

    def training_of(self) -> Training:
        """The recipe's training settings as a cell holds them."""
        return Training(**self.training.model_dump())

    def confirm_seeds(self) -> list[int]:
        """Fresh seeds, the same for every method, never the search seed."""
        return [s for s in range(1, self.seeds + 2) if s != self.search_seed][: self.seeds]

    def smoked(self) -> Recipe:
        """The recipe at smoke size."""
        training = self.training.model_copy(update={"epochs": self.smoke.epochs})
        return self.model_copy(update={"trials": self.smoke.trials, "seeds": self.smoke.seeds, "training": training})

    def changed(
        self, tasks: list[str] | None, methods: list[str] | None, trials: int | None, seeds: int | None
    ) -> Recipe:
        """The recipe with what the command line overrides; ``Refusal`` for names and numbers that cannot be."""
        for count, what in ((trials, "trials"), (seeds, "seeds")):
            if count is not None and count < 1:
                raise Refusal(f"The number of {what} must be at least 1, not {count}.")
        for names, what in ((tasks, "--tasks"), (methods, "--methods")):
            if names is not None and not names:
                raise Refusal(f"{what} names nothing.", f"Leave {what} out for the recipe's own, or name at least one.")
        asked = {"tasks": tasks, "methods": methods, "trials": trials, "seeds": seeds}
        recipe = self.model_copy(update={k: v for k, v in asked.items() if v is not None})
        for task in recipe.tasks:
            card(task)
        kinds = [method_card(method).kind for method in recipe.methods]
        if "wise_ft" in recipe.methods and "trained" not in kinds:
            raise Refusal("wise_ft interpolates towards a fine-tuned model.", "Add ft or car_ft to --methods.")
        if "soup" in recipe.methods and not set(SOUPED) & set(recipe.methods):
            raise Refusal("soup averages the search cells of a study.", f"Add {' or '.join(SOUPED)} to --methods.")
        return recipe


def recipe_names() -> list[str]:
    """Names of the shipped recipes."""
    return sorted(p.name.removesuffix(".yaml") for p in files("sweeps.recipes").iterdir() if p.name.endswith(".yaml"))


def load_recipe(name: str) -> Recipe:
    """A shipped recipe by name."""
    if name not in recipe_names():
        raise unknown("recipe", name, recipe_names())
    return parse_recipe(files("sweeps.recipes").joinpath(f"{name}.yaml").read_text(encoding="utf-8"), f"{name}.yaml")


def parse_recipe(text: str, source: str) -> Recipe:
    """A recipe from YAML text; unknown keys and wrong types are refused with their line."""
    try:
        return Recipe.model_validate(yaml.safe_load(text))
    except yaml.YAMLError as error:
        raise Refusal(f"The recipe {source} is not YAML: {str(error).splitlines()[0]}.") from error
    except ValidationError as error:
        first = error.errors()[0]
        path = [str(part) for part in first["loc"]]
        line = _line(yaml.compose(text), path)
        raise Refusal(f"{source}, line {line}: {'.'.join(path) or 'recipe'}: {first['msg']}.") from error


def _line(node: yaml.Node | None, path: list[str]) -> int:
    """The line, from 1, of the deepest part of ``path`` that the document has."""
    line = 1
    for part in path:
        if isinstance(node, yaml.MappingNode):
            found = next(((k, v) for k, v in node.value if k.value == part), None)
            if found is None:
                break
            line, node = found[0].start_mark.line + 1, found[1]
        elif isinstance(node, yaml.SequenceNode) and part.isdigit() and int(part) < len(node.value):
            node = node.value[int(part)]
            line = node.start_mark.line + 1
    return line
