"""What a trial tries: a pure function of (space, study seed, trial number, results of earlier rounds)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import optuna
from optuna.distributions import BaseDistribution, FloatDistribution
from optuna.trial import FrozenTrial, TrialState, create_trial

from carft.spec.cell import stable_hash
from carft.spec.registry import Range, method_card
from carft.store.study import StudyFile

#: trials drawn from the prior before the sampler models the results; Optuna's default is 10
STARTUP_TRIALS = 4


@dataclass(frozen=True)
class Tried:
    """A trial of an earlier round: what it tried, the value to maximise, and the epoch at which it was pruned."""

    parameters: Mapping[str, float]
    value: float
    stopped_after: int | None = None


def suggest(space: Mapping[str, Range], seed: int, trial: int, earlier: Sequence[Tried]) -> dict[str, float]:
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
    for tried in earlier:
        study.add_trial(_as_optuna_knows_it(tried, distributions))
    return dict(study.ask(distributions).params)


def suggest_again(
    study: StudyFile, trial: int, earlier: Sequence[tuple[Mapping[str, float], float, int | None]]
) -> dict[str, float]:
    """:func:`suggest` for a study on disk. ``earlier``: results as (parameters, value, epoch at which it was pruned).

    The sampler's answer depends on the order of the hyperparameters, which the file does not keep. It is that of the
    registry, and what a reading adds comes last.
    """
    ranges = {name: Range(low, high, first_guess) for name, (low, high, first_guess) in study.space.items()}
    order = [*(name for name in method_card(study.method).space if name in ranges)]
    space = {name: ranges[name] for name in (*order, *(name for name in ranges if name not in order))}
    told = [Tried({name: tried[name] for name in space}, value, pruned) for tried, value, pruned in earlier]
    return suggest(space, study.seed, trial, told)


def _as_optuna_knows_it(tried: Tried, distributions: dict[str, BaseDistribution]) -> FrozenTrial:
    parameters = dict(tried.parameters)
    if tried.stopped_after is None:
        return create_trial(params=parameters, distributions=distributions, value=tried.value)
    seen = {tried.stopped_after: tried.value}
    return create_trial(
        params=parameters, distributions=distributions, state=TrialState.PRUNED, intermediate_values=seen
    )
