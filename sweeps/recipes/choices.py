"""Which readings of the paper a sweep runs: one factor at a time, and a seeded sample of combinations."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any

import numpy as np
from pydantic import AfterValidator, BaseModel, NonNegativeInt

from carft.config.cell import Reading, Training
from carft.config.registry import Range
from carft.core.declaration import STRICT, require_allowed
from carft.core.errors import UserError

#: value of the context temperature that a search chooses like any other hyperparameter
CHOSEN_ON_VALIDATION = "validated"
#: the factor whose values are banks of a task's card
TEMPLATES = "context_templates"
TEMPERATURES = Range(0.1, 10.0, first_guess=1.0)


class Strict(BaseModel):
    """A part of the YAML file of a recipe or an audit: unknown keys are refused, and no value is converted."""

    model_config = STRICT


@dataclass(frozen=True)
class Choice:
    """A reading as a sweep runs it. factors: what differs from the default, by name; empty for the default.

    Two factors are no field of :class:`carft.config.cell.Reading`: the crop, which belongs to the training recipe, and
    a context temperature chosen on validation, which is searched.
    """

    factors: Mapping[str, Any] = field(default_factory=dict)

    @property
    def reading(self) -> Reading:
        """The fields of a cell's reading."""
        return Reading(**{k: v for k, v in self.factors.items() if k != "crop" and v != CHOSEN_ON_VALIDATION})

    @property
    def crop(self) -> float | None:
        """The training crop, where the reading changes it."""
        return self.factors.get("crop")

    @property
    def searches_temperature(self) -> bool:
        """Whether the context temperature is chosen on validation."""
        return self.factors.get("context_temperature") == CHOSEN_ON_VALIDATION

    def restricted(self, reads: tuple[str, ...]) -> Choice:
        """The reading as a method sees it that depends on these factors only, and on the crop."""
        return Choice({k: v for k, v in self.factors.items() if k in (*reads, "crop")})


def _possible(factors: dict[str, list[str | float]]) -> dict[str, list[str | float]]:
    names = [*Reading.__dataclass_fields__, "crop"]
    for factor, values in factors.items():
        if factor not in names:
            raise ValueError(f"there is no factor {factor}; known: {', '.join(names)}")
        if len(set(values)) < len(values):
            raise ValueError(f"{factor} lists a reading twice")
        for value in values:
            if (factor, value) != ("context_temperature", CHOSEN_ON_VALIDATION):
                try:
                    require_allowed(Training if factor == "crop" else Reading, {factor: value})
                except UserError as error:
                    raise ValueError(str(error).removesuffix(".")) from error
    return factors


class Readings(Strict):
    """factors: factor -> its readings besides the default. combinations: how many random ones are drawn from seed."""

    factors: Annotated[dict[str, list[str | float]], AfterValidator(_possible)]
    combinations: NonNegativeInt
    seed: NonNegativeInt

    def with_templates(self, has: Callable[[str], bool]) -> Readings:
        """The readings with the banks of context templates that tasks have."""
        factors = dict(self.factors)
        factors[TEMPLATES] = [bank for bank in factors.get(TEMPLATES, ()) if has(str(bank))]
        return self.model_copy(update={"factors": {name: values for name, values in factors.items() if values}})

    def listed(self) -> list[Choice]:
        """The default, every single change, and distinct combinations of two or more changes, always the same ones."""
        single = []
        for name, values in self.factors.items():
            single += [Choice({name: value}) for value in values]
        rng = np.random.default_rng(self.seed)
        drawn: list[dict[str, Any]] = []
        possible = int(np.prod([1 + len(v) for v in self.factors.values()])) - 1 - len(single)
        while len(drawn) < min(self.combinations, possible):
            factors = {}
            for name, values in self.factors.items():
                if pick := int(rng.integers(0, 1 + len(values))):  # 0: the default
                    factors[name] = values[pick - 1]
            if len(factors) > 1 and factors not in drawn:
                drawn.append(factors)
        return [Choice(), *single, *map(Choice, drawn)]
