"""One search as a study of Optuna in memory: it is asked for trials, and told how they ended.

Nothing here is kept on disk. A sweep that goes on makes the study anew, from the trials in study.json.
"""

from collections.abc import Mapping, Sequence
from hashlib import shake_256
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, FloatDistribution
from optuna.samplers import BaseSampler
from optuna.trial import FrozenTrial, TrialState, create_trial

from carft.config.registry import Range
from carft.protocol.sampling import SOBOL, rounded, trial_parameters
from sweeps.recipes.samplers import Sampler, pruner_of

Space = Mapping[str, Range]


class SobolSampler(BaseSampler):
    """Proposes the points of :mod:`carft.protocol.sampling`, which reports compute again without Optuna."""

    def __init__(self, search_seed: int, space: Space) -> None:
        """search_seed: seed of the search cells. space: hyperparameter -> range."""
        self.search_seed, self.space = search_seed, space

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """The whole space: a point has a coordinate for each hyperparameter."""
        return distributions(self.space)

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """What the trial of this number tries."""
        return trial_parameters(self.search_seed, trial.number, self.space)

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> float:
        """A hyperparameter of the same point."""
        return trial_parameters(self.search_seed, trial.number, self.space)[param_name]


def distributions(space: Space) -> dict[str, BaseDistribution]:
    """The ranges as Optuna's."""
    return {name: FloatDistribution(limits.low, limits.high, log=True) for name, limits in space.items()}


class OptunaStudy:
    """Trials of one search, numbered from 0. The first one tries the first guesses.

    What trial k proposes is a function of search seed, k, and what is known of the other trials when it is asked for.
    """

    def __init__(self, space: Space, sampler: Sampler, search_seed: int, pruner: str = "none") -> None:
        """space: hyperparameter -> range. search_seed: seed of the search cells, at least 0. pruner: its name."""
        self.space, self.sampler, self.search_seed = space, sampler, search_seed
        self.trials = 0
        """Number of trials that were asked for or added."""
        self._distributions = distributions(space)
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self._study = optuna.create_study(direction="maximize", sampler=self._made(0), pruner=pruner_of(pruner))
        self._stopped: set[int] = set()  # trials that the pruner has stopped

    def ask(self) -> dict[str, float]:
        """What the next trial tries, which runs from now on."""
        if self.trials == 0:
            guesses = {name: limits.first_guess for name, limits in self.space.items()}
            self.add(guesses)
            return guesses
        if self.sampler.name != SOBOL:
            self._study.sampler = self._made(self.trials)
        proposed = self._study.ask(self._distributions).params
        self.trials += 1
        return {name: rounded(limits, proposed[name]) for name, limits in self.space.items()}

    def add(self, parameters: Mapping[str, float]) -> None:
        """Add a trial of an earlier process, which runs from now on."""
        inside = {name: min(max(parameters[name], limits.low), limits.high) for name, limits in self.space.items()}
        running = create_trial(state=TrialState.RUNNING, params=inside, distributions=self._distributions)
        self._study.add_trial(running)
        self.trials += 1

    def stops(self, trial: int, values: Sequence[float]) -> bool:
        """Note what a trial has reached after each epoch; return whether the pruner stops it, now or before.

        values: of all epochs so far. Those of a trial that has ended are noted already.
        """
        frozen = self._study.get_trials(deepcopy=False)[trial]
        if not frozen.state.is_finished():
            handle = optuna.trial.Trial(self._study, frozen._trial_id)
            for epoch in range(1 + len(frozen.intermediate_values), 1 + len(values)):
                handle.report(values[epoch - 1], epoch)
                if handle.should_prune() and epoch == len(values):
                    self._stopped.add(trial)
        return trial in self._stopped

    def tell(self, trial: int, value: float | None, is_pruned: bool = False) -> None:
        """Note how a trial ended; the first time counts. value: what is maximised; None where it failed or was pruned.

        is_pruned: its last value after an epoch then counts.
        """
        state = TrialState.COMPLETE
        if is_pruned:
            state = TrialState.PRUNED
            self._stopped.add(trial)
        elif value is None:
            state = TrialState.FAIL
        reached = value if state == TrialState.COMPLETE else None
        self._study.tell(trial, reached, state=state, skip_if_finished=True)

    def _made(self, trial: int) -> BaseSampler:
        """The sampler of a trial. Restarted with one seed for all trials, it would repeat its first proposals."""
        if self.sampler.name == SOBOL:
            return SobolSampler(self.search_seed, self.space)
        digest = shake_256(f"{self.search_seed} {trial}".encode()).digest(4)
        return self.sampler.made(int.from_bytes(digest))
