"""What a trial tries: a pure function of (space, study seed, trial number, results of earlier rounds)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import optuna
from optuna.distributions import BaseDistribution, FloatDistribution

from carft.cell import stable_hash
from carft.methods import Range

#: trials drawn from the prior before the sampler models the results; Optuna's default is 10
STARTUP_TRIALS = 4


def suggest(
    space: Mapping[str, Range], seed: int, trial: int, earlier: Sequence[tuple[Mapping[str, float], float]]
) -> dict[str, float]:
    """Parameters of trial number ``trial``.

    Trial 0 is the recipe's first guess. The others are asked of Optuna's TPE over log ranges, with a sampler seed
    drawn from (study seed, trial) and a study rebuilt from ``earlier``: (parameters, value to maximise) pairs. So
    neither kills, nor order, nor the number of workers change what is tried.
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
    for parameters, value in earlier:
        study.add_trial(optuna.trial.create_trial(params=dict(parameters), distributions=distributions, value=value))
    return dict(study.ask(distributions).params)
