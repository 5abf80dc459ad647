"""``python -m benchmarks.icons_pilot FOLDER``: validation accuracy that sets the ranges of the recipes on icons-3.

FOLDER has the cells of ``benchmarks.icons_gate`` and the weights. ``icons_3_pilot.yaml`` has the settings and the rules
that turn their accuracy into ranges. Only the validation set is measured, in the contexts of training: nothing here
tells what a method does out of distribution.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml

from benchmarks.icons_gate import REGISTRATION, Candidate, Opened, world_of
from carft.spec.cell import Training
from carft.spec.resolve import specify
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


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
