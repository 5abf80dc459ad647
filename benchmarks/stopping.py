"""What early stopping saves and what it costs: the same searches with and without it, on all nine tasks."""

from __future__ import annotations

import statistics
import tempfile
from dataclasses import dataclass
from pathlib import Path

from scipy import stats

from benchmarks.measuring import Figure
from carft.records import Store
from sweeps.cluster import Request
from sweeps.launch import run_sweep
from sweeps.protocol import Protocol
from sweeps.recipes import Recipe, load_recipe
from sweeps.study import Study

TRIALS, ROUND, SEEDS = 12, 4, 2


@dataclass(frozen=True)
class Searched:
    """One study: its task, epochs trained by all trials, the winner, its val/top1, the mean test/top1 and OOD top-1 of
    its confirm cells."""

    task: str
    epochs: int
    given_up: int
    winner: str
    val: float
    test: float
    ood: float


def measure() -> list[Figure]:
    """Both sweeps in one run; the second finds the features that the first one kept."""
    with tempfile.TemporaryDirectory() as scratch:
        recipe = load_recipe("miniature").model_copy(update={"round_size": ROUND})
        recipe = recipe.changed(methods=["ft", "car_ft"], trials=TRIALS, seeds=SEEDS)
        stopping = recipe.changed(early_stopping=True)
        full, full_s = _search(recipe, Path(scratch), "full")
        early, early_s = _search(stopping, Path(scratch), "early")
    pairs = [(full[name], early[name]) for name in full]
    trials, given_up = TRIALS * len(early), sum(study.given_up for study in early.values())
    spent = [sum(study.epochs for study in found.values()) for found in (full, early)]
    same = sum(whole.winner == stopped.winner for whole, stopped in pairs)
    what = f"{TRIALS} trials in rounds of {ROUND}, rung {stopping.rungs}, {len(pairs)} studies on 9 tasks"
    return [
        Figure(
            "epochs of search saved by early stopping",
            1 - spent[1] / spent[0],
            n=len(pairs),
            unit="share",
            note=f"{given_up} of {trials} trials given up; {what}",
        ),
        Figure(
            "wall time of the whole sweep with early stopping over without",
            early_s / full_s,
            note="confirm cells included",
        ),
        Figure("studies with the same winner", same / len(pairs), n=len(pairs), unit="share"),
        _regret("val/top1 of the winner", [(task.task, 100 * (task.val - other.val)) for task, other in pairs]),
        _regret("test top-1 of the confirmed winner", [(a.task, 100 * (a.test - b.test)) for a, b in pairs]),
        _regret("OOD top-1 of the confirmed winner", [(a.task, 100 * (a.ood - b.ood)) for a, b in pairs]),
    ]


def _search(recipe: Recipe, scratch: Path, name: str) -> tuple[dict[str, Searched], float]:
    """Every study of a recipe by task and method, and the sweep's wall seconds."""
    store = Store(scratch / name)
    request = Request(settings={"feature_cache": str(scratch / "features")})
    protocol, summary = run_sweep(recipe, store, request, lambda protocol: lambda: None, print)
    return {f"{s.task} {s.method.name}": _searched(protocol, store, s) for s in protocol.studies}, summary.wall_s


def _searched(protocol: Protocol, store: Store, study: Study) -> Searched:
    winner = protocol.winner(study)
    assert winner is not None
    stops = [protocol.stopped[c.id].epochs for _, _, c in protocol.trials(study) if c.id in protocol.stopped]
    epochs = sum(stops) + (TRIALS - len(stops)) * protocol.recipe.training.epochs
    confirmed = [store.metrics(cell.id) for cell in protocol.confirm_cells(study)]
    test, ood = (statistics.mean(m[name] for m in confirmed) for name in ("test/top1", "ood/mean/top1"))
    return Searched(study.task, epochs, len(stops), winner.cell, winner.metrics["val/top1"], test, ood)


def _regret(what: str, losses: list[tuple[str, float]]) -> Figure:
    """Points lost by early stopping: mean over tasks, with a 95 % t interval over them."""
    tasks = {task for task, _ in losses}
    means = [statistics.mean(loss for of, loss in losses if of == task) for task in sorted(tasks)]
    mean, error = statistics.mean(means), stats.sem(means)
    half = float(stats.t.ppf(0.975, len(means) - 1) * error)
    worst = max(loss for _, loss in losses)
    note = f"95 % interval over tasks {mean - half:+.2f} to {mean + half:+.2f}; worst study {worst:+.2f}"
    return Figure(f"regret of early stopping, {what}", mean, n=len(means), unit="points", note=note)
