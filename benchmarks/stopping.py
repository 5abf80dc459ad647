"""What early stopping saves and what it costs: the same searches with and without it, on all nine tasks."""

from __future__ import annotations

import random
import statistics
import tempfile
from dataclasses import dataclass
from pathlib import Path

from scipy import stats

from benchmarks.measuring import Figure
from carft.store.early_stopping import Curve, known_curve, rungs_of
from carft.store.records import Store
from carft.training.execution import Execution
from sweeps.ray_backend.connect import Resources
from sweeps.ray_backend.run import run_sweep
from sweeps.recipes import Recipe, load_recipe
from sweeps.search.protocol import Protocol
from sweeps.search.study import Study

TRIALS, SEEDS = 12, 2
#: orders of the trials in which the rule is played again on curves that are known to the end
ORDERS = 500
OTHER = "where it differs, the sampler was told of other trials too"


@dataclass(frozen=True)
class Searched:
    """One study: its task, the validation curves of its trials, epochs trained by all of them, the winner, its
    val/top1, the mean test/top1 and OOD top-1 of its confirm cells."""

    task: str
    curves: list[Curve]
    epochs: int
    given_up: int
    winner: str
    val: float
    test: float
    ood: float


def measure() -> list[Figure]:
    """Both sweeps in one run, each with nothing kept from the other, and the rule alone on the curves of the first."""
    with tempfile.TemporaryDirectory() as scratch:
        recipe = load_recipe("miniature").changed(methods=["ft", "car_ft"], trials=TRIALS, seeds=SEEDS)
        stopping = recipe.changed(early_stopping=True)
        full, full_s = _search(recipe, Path(scratch), "full")
        early, early_s = _search(stopping, Path(scratch), "early")
    pairs = [(full[name], early[name]) for name in full]
    n = len(pairs)
    trials, given_up = TRIALS * len(early), sum(study.given_up for study in early.values())
    spent = [sum(study.epochs for study in found.values()) for found in (full, early)]
    same = sum(whole.winner == stopped.winner for whole, stopped in pairs)
    what = f"{TRIALS} trials in rounds of {recipe.round_size}, rung {stopping.rungs}, {n} studies on 9 tasks"
    pruned = f"{given_up} of {trials} trials pruned; {what}"
    once = "one run each, confirm cells and the start of Ray included"
    alone = f"{ORDERS} random orders of the trials of each study without early stopping"
    replays = [(study.task, *replayed(study.curves, stopping)) for study in full.values()]
    saved = statistics.mean(saved for _, saved, _ in replays)
    return [
        Figure("epochs of search saved by early stopping", 1 - spent[1] / spent[0], n=n, unit="share", note=pruned),
        Figure("wall time of the whole sweep with early stopping over without", early_s / full_s, note=once),
        Figure("studies with the same winner", same / n, n=n, unit="share", note=OTHER),
        Figure("epochs saved by the rule alone", saved, n=n, unit="share", note=alone),
        _regret("val/top1, by the rule alone", [(task, lost) for task, _, lost in replays]),
        _regret("val/top1 of the winner", [(task.task, 100 * (task.val - other.val)) for task, other in pairs]),
        _regret("test top-1 of the confirmed winner", [(a.task, 100 * (a.test - b.test)) for a, b in pairs]),
        _regret("OOD top-1 of the confirmed winner", [(a.task, 100 * (a.ood - b.ood)) for a, b in pairs]),
    ]


def _search(recipe: Recipe, scratch: Path, name: str) -> tuple[dict[str, Searched], float]:
    """Every study of a recipe by task and method, and the sweep's wall seconds."""
    store = Store(scratch / name)
    request = Resources(execution=Execution(feature_cache=str(scratch / f"features-{name}")))
    protocol, summary = run_sweep(recipe, store, request, lambda protocol: lambda: None, print)
    return {f"{s.task} {s.method.name}": _searched(protocol, store, s) for s in protocol.studies}, summary.wall_s


def _searched(protocol: Protocol, store: Store, study: Study) -> Searched:
    winner = protocol.winner(study)
    assert winner is not None
    stops = [protocol.stopped[c.id].epochs for _, _, c in protocol.trials(study) if c.id in protocol.stopped]
    epochs = sum(stops) + (TRIALS - len(stops)) * protocol.recipe.training.epochs
    confirmed = [store.metrics(cell.id) for cell in protocol.confirm_cells(study)]
    test, ood = (statistics.mean(m[name] for m in confirmed) for name in ("test/top1", "ood/mean/top1"))
    curves = [known_curve(store, cell.id) for _, _, cell in protocol.trials(study)]
    return Searched(study.task, curves, epochs, len(stops), winner.cell, winner.metrics["val/top1"], test, ood)


def replayed(curves: list[Curve], recipe: Recipe) -> tuple[float, float]:
    """(share of epochs saved, points of val/top1 lost): means over orders of trials that were trained to the end."""
    rng, epochs, best = random.Random(0), recipe.training.epochs, max(curve[-1] for curve in curves)
    saved, lost = [], []
    for _ in range(ORDERS):
        order = rng.sample(curves, len(curves))
        stops = rungs_of(order, recipe.stopping_rungs(), recipe.round_size, epochs)
        saved.append(1 - sum(stop or epochs for stop in stops) / (epochs * len(order)))
        lost.append(100 * (best - max(c[-1] for c, stop in zip(order, stops, strict=True) if stop is None)))
    return statistics.mean(saved), statistics.mean(lost)


def _regret(what: str, losses: list[tuple[str, float]]) -> Figure:
    """Points lost by early stopping: mean over tasks, with a 95 % t interval over them."""
    tasks = {task for task, _ in losses}
    means = [statistics.mean(loss for of, loss in losses if of == task) for task in sorted(tasks)]
    mean, error = statistics.mean(means), stats.sem(means)
    half = float(stats.t.ppf(0.975, len(means) - 1) * error)
    worst = max(loss for _, loss in losses)
    note = f"95 % interval over tasks {mean - half:+.2f} to {mean + half:+.2f}; worst study {worst:+.2f}"
    return Figure(f"regret of early stopping, {what}", mean, n=len(means), unit="points", note=note)
