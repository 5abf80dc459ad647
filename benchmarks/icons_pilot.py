"""``python -m benchmarks.icons_pilot FOLDER``: what sets the ranges and the way of selection on icons-3.

FOLDER has the cells of ``benchmarks.icons_gate`` and the weights. ``icons_3_pilot.yaml`` has the settings and the rules
that turn validation accuracy into ranges. CAR-FT is measured on the validation set alone, in the contexts of training:
nothing here tells what it does out of distribution. The luck of selection is simulated from plain fine-tuning.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from scipy.interpolate import PchipInterpolator
from scipy.stats import qmc

from benchmarks.icons_gate import REGISTRATION, SEEDS, Candidate, Opened, world_of
from carft.catalog.resolve import specify
from carft.config.cell import Training
from carft.data.icons.world import nine_tasks
from carft.training.run import compute

PILOT: dict[str, Any] = yaml.safe_load(Path(__file__).with_name("icons_3_pilot.yaml").read_text(encoding="utf-8"))


def main() -> None:
    """Run the settings of the pilot that are not in the folder yet, and print the mean accuracy of each."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.icons_pilot", description=__doc__)
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    settings = {**REGISTRATION["candidates"][PILOT["candidate"] - 1], "number": PILOT["candidate"]}
    weights = folder / f"{PILOT['model']}.safetensors"
    candidate = Candidate(world_of(settings), PILOT["model"], weights, settings)
    for task in PILOT["tasks"]:  # one task after the other: its images are rendered once
        for run in PILOT["runs"]:
            accuracy(candidate, task, run, folder)
    for run in PILOT["runs"]:
        values = [accuracy(candidate, task, run, folder) for task in PILOT["tasks"]]
        print(f"{name_of(run):42} {100 * np.mean(values):6.2f} %")
    print(luck(candidate))


def accuracy(candidate: Candidate, task: str, run: Mapping[str, Any], folder: Path) -> float:
    """Return the validation accuracy of one run on one task, in [0, 1]; a run in the folder is read."""
    path = folder / "pilot" / f"{task.rpartition('/')[2]}-{name_of(run)}.txt"
    if not path.is_file():
        own = {name: value for name, value in run.items() if name not in ("method", "epochs")}
        training = Training(epochs=run.get("epochs", candidate.settings["epochs"]))
        opened = Opened.of(candidate, task)
        cell = specify("icons/all", run["method"], own, PILOT["seed"], training)
        network = compute(cell, opened.context).network
        predictions = opened.context.predict(cell, network, opened.sets["val"])
        path.parent.mkdir(exist_ok=True)
        path.write_text(repr(float((predictions.predicted == predictions.labels).mean())) + "\n")
    return float(path.read_text())


def name_of(run: Mapping[str, Any]) -> str:
    """Return a run's settings as one word."""
    return "-".join(f"{name}={value:g}" if name != "method" else value for name, value in run.items())


def luck(candidate: Candidate, repetitions: int = 2000) -> str:
    """Return how two searches differ where two methods are the same: standard deviations in points, as lines of text.

    Both methods read the same Sobol points and are fine-tuning: accuracies are interpolated between the rates of the
    gate, with the spread of its seeds. One winner for all tasks, or one for each task, is confirmed with two seeds.
    """
    lrs, names, suites = REGISTRATION["lrs"], nine_tasks(candidate.world), candidate.suites
    levels = np.array([[_levels(candidate, task, lr, SEEDS[0], suites) for lr in lrs] for task in names])  # (T, L, 2)
    best = int(levels[..., 0].mean(0).argmax())
    repeated = np.array([[_levels(candidate, task, lrs[best], seed, suites) for seed in SEEDS] for task in names])
    levels[:, best] = repeated.mean(1)
    of_seeds = np.sqrt(repeated.var(axis=1, ddof=1).mean(0))  # (2,)
    curves = PchipInterpolator(np.log(lrs), levels, axis=1)
    low, high, guess = (np.log(PILOT["lr"][name]) for name in ("low", "high", "first_guess"))
    rng, rows = np.random.default_rng(0), np.arange(len(names))
    found: dict[str, list[np.ndarray]] = {"shared": [], "per task": []}
    for _ in range(repetitions):
        points = qmc.Sobol(1, scramble=True, rng=rng).random(PILOT["trials"] - 1)[:, 0]
        truth = curves(np.r_[guess, low + points * (high - low)])  # (T, K, 2)
        sides: dict[str, list[np.ndarray]] = {"shared": [], "per task": []}
        for _side in range(2):
            seen = truth[..., 0] + rng.normal(0, of_seeds[0], truth.shape[:2])
            confirmed = rng.normal(0, of_seeds / np.sqrt(2), (len(names), 2))
            sides["shared"].append((truth[:, seen.mean(0).argmax()] + confirmed).mean(0))
            sides["per task"].append((truth[rows, seen.argmax(1)] + confirmed).mean(0))
        for way, (one, other) in sides.items():
            found[way].append(one - other)
    spread = {way: 100 * np.std(values, axis=0) for way, values in found.items()}
    return "\n".join(f"{way:10} ID {within:.2f}, suites {out:.2f}" for way, (within, out) in spread.items())


def _levels(candidate: Candidate, task: str, lr: float, seed: int, suites: list[str]) -> tuple[float, float]:
    """Accuracy of plain fine-tuning on a task's validation drawings, in the contexts of training and of the suites."""
    shares = candidate.runs(task, "ft", lr, seed)["ft"]
    return float(shares["val"].mean()), float(np.mean([shares[suite].mean() for suite in suites]))


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
