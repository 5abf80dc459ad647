"""Samplers, which propose the parameters of trials: by name, or a class of Optuna with its parameters. And pruners."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from carft.core.errors import UserError, unknown
from carft.protocol.sampling import SOBOL

if TYPE_CHECKING:
    from optuna.pruners import BasePruner
    from optuna.samplers import BaseSampler

#: name -> class of Optuna and its parameters
NAMED: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "random": ("RandomSampler", {}),
    "tpe": ("TPESampler", {"n_startup_trials": 4}),
}
#: class -> parameters in force where a recipe gives none: trials that run are known to the sampler
IMPLIED: Mapping[str, Mapping[str, Any]] = {"TPESampler": {"multivariate": True, "constant_liar": True}}
#: classes whose proposals do not depend on results
INDEPENDENT = ("RandomSampler",)
#: classes that need one seed for all trials
UNFIT = ("QMCSampler",)
#: parameter that says how many trials are drawn without results
START = "n_startup_trials"
#: whole trials that the median pruner compares others with
MEDIAN_OF = 4


@dataclass(frozen=True)
class Sampler:
    """What proposes the trials of a study."""

    name: str
    """As study.json has it: ``sobol``, a name of :data:`NAMED`, or a class of Optuna."""
    kind: str = ""
    """Class of Optuna; empty for ``sobol``, which is no class of it."""
    given: Mapping[str, Any] = field(default_factory=dict)
    """Parameters that the recipe gives."""
    parameters: Mapping[str, Any] = field(default_factory=dict)
    """All parameters that are not the defaults of the class."""

    def __str__(self) -> str:
        """The sampler as study.json names it."""
        if not self.given:
            return self.name
        given = ", ".join(f"{name}={value!r}" for name, value in sorted(self.given.items()))
        return f"{self.name}({given})"

    @property
    def is_fixed(self) -> bool:
        """Whether all trials are fixed in advance, since none depends on a result."""
        return self.name == SOBOL or self.kind in INDEPENDENT

    @property
    def least_trials(self) -> int:
        """Number of trials with which the last one can depend on results; 1 where none does."""
        if self.is_fixed:
            return 1
        declared = inspect.signature(_class_of(self.kind)).parameters
        if START not in declared:
            return 2
        start: int = self.parameters.get(START, declared[START].default)
        return 1 + start

    def made(self, seed: int) -> BaseSampler:
        """The sampler as an object of its class. seed: 0 to 2**32 - 1."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of arguments that Optuna calls experimental
            return _class_of(self.kind)(seed=seed, **self.parameters)


def sampler_of(chosen: str | Mapping[str, Any]) -> Sampler:
    """The sampler that a recipe names. Raises ``UserError`` for what it cannot be."""
    if chosen == SOBOL:
        return Sampler(SOBOL)
    if isinstance(chosen, str):
        kind, parameters = NAMED[chosen]
        return Sampler(chosen, kind, parameters={**IMPLIED.get(kind, {}), **parameters})
    given = dict(chosen)
    kind = given.pop("class", "")
    _class_of(kind)
    if type(given.get(START, 0)) is not int:
        raise UserError(f"The parameter {START} of {kind} must be a whole number, not {given[START]!r}.")
    return Sampler(kind, kind, given, {**IMPLIED.get(kind, {}), **given})


def _class_of(kind: Any) -> Any:
    """The class of Optuna of this name; ``UserError`` for another."""
    from optuna import samplers

    known = [name for name in samplers.__all__ if name.endswith("Sampler") and name not in UNFIT]
    if kind not in known:
        raise unknown("sampler", str(kind), known, more=" Write it as sampler: {class: NAME, PARAMETER: VALUE}.")
    return getattr(samplers, kind)


def pruner_of(name: str) -> BasePruner:
    """The pruner of this name: ``none``, ``halving`` or ``median``.

    Halving lets the better half of the trials go on that have reached epoch 1, 2, 4, 8, and so on. The other one stops
    trials below the median of those that are whole, of which there must be :data:`MEDIAN_OF`.
    """
    from optuna import pruners

    if name == "halving":
        return pruners.SuccessiveHalvingPruner(min_resource=1, reduction_factor=2)
    if name == "median":
        return pruners.MedianPruner(n_startup_trials=MEDIAN_OF)
    return pruners.NopPruner()
