"""What a trial tries: a pure function of (study seed, trial number, space, results of earlier rounds).

``suggest`` is all that the rest of the sweep knows of the sampler.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import optuna
from optuna.distributions import BaseDistribution, FloatDistribution
from optuna.trial import FrozenTrial, TrialState, create_trial

from carft.spec.cell import stable_hash
from carft.spec.registry import METHODS, MethodCard, Range
from carft.store.study import StudyFile

#: trials drawn from the prior before the sampler models the results; Optuna's default is 10
STARTUP_TRIALS = 4


@dataclass(frozen=True)
class Result:
    """The result of a trial of an earlier round."""

    parameters: Mapping[str, float]
    """What it tried."""
    value: float
    """What the search maximises."""
    stopped_after: int | None = None
    """Epoch at which the trial was pruned; None for one that was trained to the end."""


def suggest(seed: int, trial: int, space: Mapping[str, Range], earlier: Sequence[Result]) -> dict[str, float]:
    """Parameters of trial number ``trial``.

    Trial 0 is the recipe's first guess. The others are asked of Optuna's TPE over log ranges, with a sampler seed
    drawn from (study seed, trial) and a study rebuilt from ``earlier``. So neither kills, nor order, nor the number of
    workers change what is tried. The sampler ranks a trial that was pruned below all that were not.
    """
    if trial == 0:
        return {name: limits.first_guess for name, limits in space.items()}
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    distributions: dict[str, BaseDistribution] = {
        name: FloatDistribution(limits.low, limits.high, log=True) for name, limits in space.items()
    }
    sampler = optuna.samplers.TPESampler(
        seed=int(stable_hash([seed, trial]), 16) % 2**32, n_startup_trials=STARTUP_TRIALS, multivariate=True
    )
    study = optuna.create_study(direction="maximize", sampler=sampler, study_name=f"seed{seed}-trial{trial}")
    for result in earlier:
        study.add_trial(_optuna_trial(result, distributions))
    return dict(study.ask(distributions).params)


def suggest_again(
    study: StudyFile,
    trial: int,
    earlier: Sequence[tuple[Mapping[str, float], float, int | None]],
    methods: Mapping[str, MethodCard] = METHODS,
) -> dict[str, float]:
    """:func:`suggest` for a study on disk. ``earlier``: results as (parameters, value, epoch at which it was pruned).

    The sampler's answer depends on the order of the hyperparameters, which the file does not keep. It is that of the
    card in ``methods``, and what a reading adds comes last.
    """
    ranges = {name: Range(low, high, first_guess) for name, (low, high, first_guess) in study.space.items()}
    order = [*(name for name in methods[study.method].space if name in ranges)]
    space = {name: ranges[name] for name in (*order, *(name for name in ranges if name not in order))}
    results = [Result({name: tried[name] for name in space}, value, pruned) for tried, value, pruned in earlier]
    return suggest(study.seed, trial, space, results)


def _optuna_trial(result: Result, distributions: dict[str, BaseDistribution]) -> FrozenTrial:
    parameters = dict(result.parameters)
    if result.stopped_after is None:
        return create_trial(params=parameters, distributions=distributions, value=result.value)
    seen = {result.stopped_after: result.value}
    return create_trial(
        params=parameters, distributions=distributions, state=TrialState.PRUNED, intermediate_values=seen
    )
