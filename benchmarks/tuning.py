"""Samplers and rules of selection on the recorded trials of the published audit, and how long GPUs wait for a search.

Each task and method of ``icons-3-full`` has six searches of five settings, all of them evaluated on the held-out sets.

- Replayed: a rule selects on one half of the validation drawings, and the other half judges what it selected.
- Simulated: a smooth surface is fitted to the settings: one shape for all tasks, and of each task as much of its own as
  helps to predict a trial that was left out. What is left over is the luck of a trial. A simulated search draws
  settings, adds the left-over of a recorded trial drawn at random, and selects; its winner counts by the surface. So
  intervals tell the error of the simulation, and nothing of how well the surface fits.

    python -m benchmarks tuning
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from statistics import NormalDist
from tempfile import TemporaryDirectory

import numpy as np
import optuna
import pandas as pd

from benchmarks.measuring import ROOT, Figure, run_cli
from carft.catalog.catalog import BUILT_IN
from carft.config.registry import Range
from carft.protocol.sampling import trial_parameters
from carft.store.records import Store

FAMILY = "icons-3-full"
METHODS = ("ft", "car_ft")
SEARCHES, BUDGETS = 200, (5, 9, 17)
#: rows of a surface
VAL, LOSS, ID, OOD = range(4)
BANDWIDTHS = (0.05, 0.1, 0.2, 0.4)
#: of a task's own surface; infinite: tasks differ by a constant
OWN_BANDWIDTHS = (0.1, 0.2, 0.4, np.inf)
GPUS, OLD_ROUND = 8, 2

Space = Mapping[str, Range]
#: gives the validation accuracy of a trial
Tried = Callable[[Mapping[str, float]], float]
#: runs a search of the largest budget with a seed, and returns what its trials tried
Draw = Callable[[Space, int, Tried], list[Mapping[str, float]]]


@dataclass(frozen=True)
class Surface:
    """Validation accuracy, validation loss, accuracy in and out of distribution over the settings of one method.

    points: (T, N, D) settings of each task, in the unit cube; values: (T, N, 4); seconds: (T, N) of training.
    """

    space: Space
    points: np.ndarray
    values: np.ndarray
    seconds: np.ndarray

    @cached_property
    def _centred(self) -> tuple[np.ndarray, np.ndarray]:
        means = self.values.mean(axis=1, keepdims=True)
        return means[:, 0], self.values - means

    def _common(self, task: int, points: np.ndarray, width: float, left_out: int | None = None) -> np.ndarray:
        weights = _kernel(points, self.points.reshape(-1, len(self.space)), width)
        if left_out is not None:
            weights[:, task * self.points.shape[1] + left_out] = 0
        return weights @ self._centred[1].reshape(-1, 4) / weights.sum(axis=1, keepdims=True)

    def _own(self, task: int, widths: tuple[float, float]) -> np.ndarray:
        return self._centred[1][task] - self._common(task, self.points[task], widths[0])

    def _predicted(
        self, task: int, points: np.ndarray, widths: tuple[float, float], own: np.ndarray, left_out: int | None = None
    ) -> np.ndarray:
        common = self._centred[0][task] + self._common(task, points, widths[0], left_out)
        if widths[1] == np.inf:
            return common
        weights = _kernel(points, self.points[task], widths[1])
        if left_out is not None:
            weights[:, left_out] = 0
        return common + weights @ own / (weights.sum(axis=1, keepdims=True) + 1)

    def _errors(self, widths: tuple[float, float]) -> np.ndarray:
        made = np.empty_like(self.values)
        for task, places in enumerate(self.points):
            own = self._own(task, widths)
            for one in range(len(places)):
                made[task, one] = self._predicted(task, places[[one]], widths, own, one)[0]
        return self.values - made

    @cached_property
    def widths(self) -> tuple[float, float]:
        """Bandwidths, common and of a task's own, that predict left-out trials best; all four values count alike."""
        spread = self._centred[1].std(axis=(0, 1))
        pairs = [(common, own) for common in BANDWIDTHS for own in OWN_BANDWIDTHS]
        return min(pairs, key=lambda pair: float(((self._errors(pair) / spread) ** 2).mean()))

    @cached_property
    def luck(self) -> np.ndarray:
        """(T, N, 4) of what the surface leaves over."""
        return self._errors(self.widths)

    @cached_property
    def _owns(self) -> list[np.ndarray]:
        return [self._own(task, self.widths) for task in range(len(self.points))]

    def at(self, task: int, points: np.ndarray) -> np.ndarray:
        """(K, 4) of the surface at (K, D) points."""
        return self._predicted(task, points, self.widths, self._owns[task])

    def tried(self, task: int, points: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """(K, 4) of what trials at (K, D) points come to, luck included."""
        return self.at(task, points) + self.luck[task, rng.integers(self.luck.shape[1], size=len(points))]


def _kernel(points: np.ndarray, others: np.ndarray, width: float) -> np.ndarray:
    squares = ((points[:, None] - others[None]) ** 2).sum(axis=2)
    return np.exp(-squares / (2 * width**2)) + 1e-9


def measure() -> list[Figure]:
    """The sampler's winners, the rules of selection, and the idle share of GPUs."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    trials = pd.read_csv(ROOT / "audit" / "tables" / "trials.csv").query("scope == @FAMILY")
    of_method = {method: trials[trials["method"] == method] for method in METHODS}
    with TemporaryDirectory() as folder:
        run_cli("results", "import", "audit/records.zip", "--to", f"{folder}/results")
        store = Store(Path(folder) / "results")
        replayed = [figure for method, own in of_method.items() for figure in _replayed(store, method, own)]
        surfaces = {method: _surface(store, method, own) for method, own in of_method.items()}
    return [*replayed, *_samplers(surfaces), *_rules(surfaces), *_idle(surfaces)]


def _replayed(store: Store, method: str, trials: pd.DataFrame) -> Iterator[Figure]:
    """Each rule on the recorded searches: what it gains over the first guess, and how much its winners differ."""
    tasks = [part.sort_values(["search", "trial"]) for _, part in trials.groupby("task", sort=True)]
    shape = (trials["search"].nunique(), trials["trial"].nunique())
    right = [_correct(store, part["cell"]).reshape(*shape, -1) for part in tasks]
    groups = [pd.factorize(store.outcomes(part["cell"].iloc[0], "val").frame.groups)[0] for part in tasks]
    tested = np.array([[_values(store.metrics(cell)) for cell in part["cell"]] for part in tasks])
    tested = tested.reshape(len(tasks), *shape, 4)
    gains: dict[str, list[float]] = {"per task": [], "shared": []}
    spreads: dict[str, list[np.ndarray]] = {"per task": [], "shared": []}
    for draw in range(SEARCHES):
        seen, findings = np.empty((2, len(tasks), *shape))
        for task, own in enumerate(groups):
            rng = np.random.default_rng([draw, task])
            half = (rng.permutation(own.max() + 1) % 2 == 0)[own]
            seen[task], findings[task] = right[task][..., half].mean(-1), right[task][..., ~half].mean(-1)
        picks = {"per task": seen.argmax(-1), "shared": np.broadcast_to(seen.mean(0).argmax(-1), seen.shape[:2])}
        for rule, pick in picks.items():
            won = np.take_along_axis(findings, pick[..., None], axis=-1)[..., 0]
            gains[rule].append((won - findings[..., 0]).mean())
            levels = np.take_along_axis(tested, pick[..., None, None], axis=2)[:, :, 0].mean(0)
            spreads[rule].append(levels.std(axis=0, ddof=1))
    for rule, values in gains.items():
        spread = 100 * np.mean(spreads[rule], axis=0)
        note = f"{shape[0]} searches of {shape[1]} trials; between them, sd: ID {spread[ID]:.2f}, OOD {spread[OOD]:.2f}"
        yield _figure(f"{method}, replayed: top-1 {rule} over the first guess", 100 * np.array(values), note)


def _correct(store: Store, cells: Iterable[str]) -> np.ndarray:
    """(cells, images) whether the class of each validation image is right."""
    outcomes = [store.outcomes(cell, "val") for cell in cells]
    return np.array([one.predicted == one.labels for one in outcomes])


def _surface(store: Store, method: str, trials: pd.DataFrame) -> Surface:
    space = BUILT_IN.method(method).space
    tasks = [part.drop_duplicates(list(space)) for _, part in trials.groupby("task", sort=True)]
    fewest = min(map(len, tasks))
    points, values, seconds = [], [], []
    for part in tasks:
        rows = part.iloc[:fewest]
        settings = rows[list(space)].to_numpy(float)
        points.append([unit(space, dict(zip(space, one, strict=True))) for one in settings])
        values.append([_values(store.metrics(cell)) for cell in rows["cell"]])
        seconds.append([store.read(cell).durations["train"] for cell in rows["cell"]])
    return Surface(space, np.array(points), np.array(values), np.array(seconds))


def _values(metrics: Mapping[str, float]) -> list[float]:
    suites = [value for name, value in metrics.items() if name.startswith("ood/") and name.endswith("/top1")]
    return [metrics["val/top1"], metrics["val/loss"], metrics["test/top1"], float(np.mean(suites))]


def unit(space: Space, parameters: Mapping[str, float]) -> np.ndarray:
    """Return hyperparameters as a point of the unit cube."""
    places = [
        math.log(parameters[name] / limits.low) / math.log(limits.high / limits.low) for name, limits in space.items()
    ]
    return np.array(places)


def _samplers(surfaces: Mapping[str, Surface]) -> Iterator[Figure]:
    """Validation accuracy that the winner has by the surface, mean over tasks, of each sampler against random."""
    for method, surface in surfaces.items():
        won = {name: np.array(list(_won(surface, draw))) for name, draw in SAMPLERS.items()}
        for place, budget in enumerate(BUDGETS):
            level = 100 * won["random"][:, place].mean()
            for name in ("sobol", "tpe"):
                gained = 100 * (won[name][:, place] - won["random"][:, place])
                yield _figure(f"{method}, {budget} trials: {name} over random", gained, f"random reaches {level:.1f} %")


def _won(surface: Surface, draw: Draw) -> Iterator[list[float]]:
    """For each simulated search: the winner's validation accuracy after each number of trials, mean over tasks."""
    for search in range(SEARCHES):
        tasks = range(len(surface.points))
        yield np.mean([_winners(surface, task, draw, search) for task in tasks], axis=0).tolist()


def _winners(surface: Surface, task: int, draw: Draw, search: int) -> list[float]:
    rng = np.random.default_rng([search, task])
    seen: list[float] = []

    def tried(parameters: Mapping[str, float]) -> float:
        seen.append(float(surface.tried(task, unit(surface.space, parameters)[None], rng)[0, VAL]))
        return seen[-1]

    settings = draw(surface.space, 1000 * search + task, tried)
    true = surface.at(task, np.array([unit(surface.space, one) for one in settings]))[:, VAL]
    return [float(true[int(np.argmax(seen[:budget]))]) for budget in BUDGETS]


def _by_sobol(space: Space, seed: int, tried: Tried) -> list[Mapping[str, float]]:
    settings: list[Mapping[str, float]] = [trial_parameters(seed, trial, space) for trial in range(BUDGETS[-1])]
    for one in settings:
        tried(one)
    return settings


def _by_optuna(sampler: Callable[[int], optuna.samplers.BaseSampler]) -> Draw:
    def draw(space: Space, seed: int, tried: Tried) -> list[Mapping[str, float]]:
        study = optuna.create_study(direction="maximize", sampler=sampler(seed))
        study.enqueue_trial({name: limits.first_guess for name, limits in space.items()})
        for _ in range(BUDGETS[-1]):
            trial = study.ask()
            parameters = {name: trial.suggest_float(name, one.low, one.high, log=True) for name, one in space.items()}
            study.tell(trial, tried(parameters))
        return [trial.params for trial in study.trials]

    return draw


SAMPLERS: Mapping[str, Draw] = {
    "random": _by_optuna(lambda seed: optuna.samplers.RandomSampler(seed=seed)),
    "sobol": _by_sobol,
    "tpe": _by_optuna(lambda seed: optuna.samplers.TPESampler(seed=seed, n_startup_trials=4)),
}


def _rules(surfaces: Mapping[str, Surface]) -> Iterator[Figure]:
    """Each rule of selection with nine trials: what its winners lose, and how much they differ between searches."""
    for method, surface in surfaces.items():
        picked: dict[str, list[list[float]]] = {rule: [] for rule in RULES}
        for search in range(SEARCHES):
            settings = [trial_parameters(search, trial, surface.space) for trial in range(BUDGETS[1])]
            points = np.array([unit(surface.space, one) for one in settings])
            rng = np.random.default_rng([search, 1])
            tasks = range(len(surface.points))
            true = np.array([surface.at(task, points) for task in tasks])
            seen = np.array([[surface.tried(task, points, rng) for task in tasks] for _ in range(2)])
            best = true[:, :, VAL].max(axis=1)
            for rule, pick in RULES.items():
                winners = true[np.arange(len(true)), pick(seen)]
                picked[rule].append([(best - winners[:, VAL]).mean(), winners[:, ID].mean(), winners[:, OOD].mean()])
        for rule, rows in picked.items():
            regret, inside, outside = 100 * np.array(rows).T
            note = f"between searches, sd: ID {inside.std(ddof=1):.2f}, OOD {outside.std(ddof=1):.2f}"
            yield _figure(f"{method}: regret of {rule}", regret, note)


def _mean_of_two(seen: np.ndarray) -> np.ndarray:
    """The three best trials run with a second seed, and the best mean of both wins."""
    first = seen[0, :, :, VAL]
    third = np.sort(first, axis=1)[:, [-3]]
    return np.where(first >= third, seen[..., VAL].mean(axis=0), -np.inf).argmax(axis=1)


#: rule -> function of (2, T, K, 4) values of two seeds, that gives the winner of each task
RULES: Mapping[str, Callable[[np.ndarray], np.ndarray]] = {
    "top-1 per task": lambda seen: seen[0, :, :, VAL].argmax(axis=1),
    "loss per task": lambda seen: seen[0, :, :, LOSS].argmin(axis=1),
    "mean of two seeds for the best three": _mean_of_two,
    "top-1 shared": lambda seen: np.full(seen.shape[1], seen[0, :, :, VAL].mean(axis=0).argmax()),
}


def _idle(surfaces: Mapping[str, Surface]) -> Iterator[Figure]:
    """Share of eight GPUs that waits while trials run, with rounds of two trials a study and without rounds."""
    for words, tasks in (("nine tasks", slice(None)), ("one task", slice(1))):
        lengths = [row[: BUDGETS[1]] for surface in surfaces.values() for row in surface.seconds[tasks]]
        for name, size in (("rounds of two", OLD_ROUND), ("one sequence", BUDGETS[1])):
            share, note = _idle_share(lengths, size), f"{len(lengths)} searches of {BUDGETS[1]} trials"
            yield Figure(f"idle share of {GPUS} GPUs, {words}: {name}", share, unit="", note=note)


def _idle_share(studies: Sequence[Sequence[float]], size: int) -> float:
    """Idle share where each study starts a round of ``size`` trials when its last round has ended."""
    free = [0.0] * GPUS
    ready = [(0.0, study, 0) for study in range(len(studies))]
    while ready:
        since, study, first = heapq.heappop(ready)
        ends = []
        for seconds in studies[study][first : first + size]:
            ends.append(max(heapq.heappop(free), since) + seconds)
            heapq.heappush(free, ends[-1])
        if first + size < len(studies[study]):
            heapq.heappush(ready, (max(ends), study, first + size))
    return 1 - sum(map(sum, studies)) / (GPUS * max(free))


def _figure(name: str, values: np.ndarray, note: str) -> Figure:
    half = NormalDist().inv_cdf(0.975) * values.std(ddof=1) / math.sqrt(len(values))
    return Figure(name, float(values.mean()), n=len(values), unit="points", note=note, half_width=round(half, 3))
