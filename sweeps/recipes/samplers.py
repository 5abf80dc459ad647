"""Samplers, which propose the parameters of trials: by name, or a class of Optuna with its parameters. And pruners."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
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
#: classes that need values instead of ranges, or one seed for all trials
UNFIT = ("BruteForceSampler", "QMCSampler")
#: parameters that say how many trials are drawn without results
STARTS = ("n_startup_trials", "population_size")
#: pruner -> number of trials of which one can be stopped
LEAST_TRIALS = {"halving": 2, "median": 5}


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
        declared = inspect.signature(_classes()[self.kind]).parameters
        start = 0
        for name in STARTS:
            if name in declared:
                start = max(start, self.parameters.get(name, declared[name].default))
        return start + 1

    def made(self, seed: int) -> BaseSampler:
        """The sampler as an object of its class. seed: 0 to 2**32 - 1."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of arguments that Optuna calls experimental
            return _classes()[self.kind](seed=seed, **self.parameters)


def sampler_of(chosen: str | Mapping[str, Any]) -> Sampler:
    """The sampler that a recipe names. Raises ``UserError`` for what it cannot be."""
    if chosen == SOBOL:
        return Sampler(SOBOL)
    if isinstance(chosen, str):
        kind, parameters = NAMED[chosen]
        return Sampler(chosen, kind, parameters={**IMPLIED.get(kind, {}), **parameters})
    given = dict(chosen)
    kind = given.pop("class", "")
    if kind not in _classes():
        raise unknown("sampler", str(kind), _classes(), more=" Write it as sampler: {class: NAME, PARAMETER: VALUE}.")
    known = inspect.signature(_classes()[kind]).parameters.keys() - {"seed"}
    for name, value in given.items():
        if name not in known:
            raise unknown(f"parameter of {kind}", name, known)
        if name in STARTS and type(value) is not int:
            raise UserError(f"The parameter {name} of {kind} must be a whole number, not {value!r}.")
    return Sampler(kind, kind, given, {**IMPLIED.get(kind, {}), **given})


@cache
def _classes() -> dict[str, Any]:
    """Name -> class of Optuna's samplers of one objective that need nothing but scalar parameters."""
    from optuna import samplers

    found: dict[str, Any] = {}
    for name, kind in inspect.getmembers(samplers, inspect.isclass):
        if name in UNFIT or inspect.isabstract(kind) or not issubclass(kind, samplers.BaseSampler):
            continue
        declared = inspect.signature(kind).parameters
        needed = [one for one in declared.values() if one.default is inspect.Parameter.empty]
        if "seed" in declared and not needed:
            found[name] = kind
    return found


def require_usable(sampler: Sampler) -> None:
    """Ask a sampler for made-up trials. Raises ``UserError`` for one that Optuna refuses, as for wrong values."""
    if sampler.is_fixed:
        return
    import optuna
    from optuna.distributions import BaseDistribution, FloatDistribution

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    limits = FloatDistribution(1e-3, 1e3, log=True)
    space: dict[str, BaseDistribution] = {"lr": limits, "kl_weight": limits}
    try:
        study = optuna.create_study(direction="maximize", sampler=sampler.made(0))
        for _ in range(sampler.least_trials + 1):
            trial = study.ask(space)
            study.tell(trial, trial.params["lr"])
    except ImportError as error:
        raise UserError(f"The sampler {sampler} lacks a package: {str(error).splitlines()[0]}") from error
    except (ValueError, TypeError) as error:
        raise UserError(f"Optuna refuses the sampler {sampler}: {str(error).splitlines()[0]}") from error


def pruner_of(name: str) -> BasePruner:
    """The pruner of this name: ``none``, ``halving`` or ``median``.

    Halving lets the better half of the trials go on that have reached epoch 1, 2, 4, 8, and so on. The other one stops
    trials below the median of those that are whole, of which there must be four.
    """
    from optuna import pruners

    if name == "halving":
        return pruners.SuccessiveHalvingPruner(min_resource=1, reduction_factor=2)
    if name == "median":
        return pruners.MedianPruner(n_startup_trials=LEAST_TRIALS[name] - 1)
    return pruners.NopPruner()
