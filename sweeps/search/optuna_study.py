"""One search as a study of Optuna in memory: it is asked for trials, and told how they ended.

Nothing here is kept on disk. A sweep that goes on makes the study anew, from the trials in study.json.
"""

from collections.abc import Mapping, Sequence
from hashlib import shake_256

import optuna
from optuna.distributions import BaseDistribution, FloatDistribution
from optuna.samplers import RandomSampler
from optuna.trial import TrialState, create_trial

from carft.config.registry import Range
from carft.protocol.sampling import SOBOL, rounded, trial_parameters
from sweeps.recipes.samplers import Sampler, pruner_of

Space = Mapping[str, Range]


class OptunaStudy:
    """Trials of one search, numbered from 0. The first one tries the first guesses.

    What trial k proposes is a function of search seed, k, and what is known of the other trials when it is asked for.
    """

    def __init__(self, space: Space, sampler: Sampler, search_seed: int, pruner: str = "none") -> None:
        """space: hyperparameter -> range. search_seed: seed of the search cells, at least 0. pruner: its name."""
        self.space, self.sampler, self.search_seed = space, sampler, search_seed
        self.trials = 0
        """Number of trials that were asked for or added."""
        self._distributions: dict[str, BaseDistribution] = {}
        for name, limits in space.items():
            self._distributions[name] = FloatDistribution(limits.low, limits.high, log=True)
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self._study = optuna.create_study(direction="maximize", sampler=RandomSampler(), pruner=pruner_of(pruner))
        """All trials. Its pruner is asked, its sampler never."""
        self._stopped: set[int] = set()  # trials that the pruner has stopped

    def ask(self) -> dict[str, float]:
        """What the next trial tries, which runs from now on."""
        setting = self._proposed()
        self.add(setting)
        return setting

    def _proposed(self) -> dict[str, float]:
        """What the sampler proposes for the next trial.

        The sampler sees the other trials as a sweep that goes on would add them. So it proposes the same in both, and
        nothing that it keeps in the study of an earlier proposal reaches the next one.
        """
        if self.trials == 0 or self.sampler.name == SOBOL:
            return trial_parameters(self.search_seed, self.trials, self.space)
        # restarted with one seed for all trials, a sampler would repeat its first proposals
        digest = shake_256(f"{self.search_seed} {self.trials}".encode()).digest(4)
        study = optuna.create_study(direction="maximize", sampler=self.sampler.made(int.from_bytes(digest)))
        if not self.sampler.is_fixed:
            study.add_trials(self._study.get_trials(deepcopy=False))
        proposed = study.ask(self._distributions).params
        return {name: rounded(limits, proposed[name]) for name, limits in self.space.items()}

    def add(self, parameters: Mapping[str, float]) -> None:
        """Add a trial, which runs from now on: also one that an earlier process asked for."""
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
