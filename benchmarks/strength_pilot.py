"""``python -m benchmarks.strength_pilot FOLDER``: the KL weights at which terms with other heads are equally strong.

``strength_pilot.yaml`` has what is run and the rule. Every run is one file in FOLDER, so that a stopped pilot goes on.
The last command writes ``strength_measured.yaml``, whose arms ``sweeps/recipes/strength.yaml`` copies. Several
processes may share a FOLDER, each with ``--task`` of its own.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from scipy.interpolate import PchipInterpolator

from carft.config.catalog import BUILT_IN
from carft.config.cell import Cell, Reading
from carft.core.files import write_atomic
from carft.methods.car_ft import displacement
from carft.models.network import embed
from carft.posthoc.head_strength import head_strengths
from carft.training.context import CellContext
from carft.training.execution import Execution
from carft.training.run import compute
from sweeps.recipes import load_recipe

HERE = Path(__file__).parent
PILOT: Mapping[str, Any] = yaml.safe_load((HERE / "strength_pilot.yaml").read_text(encoding="utf-8"))
MEASURED = HERE / "strength_measured.yaml"
RECIPE = "miniature-full"
#: significant digits of a frozen weight or temperature
DIGITS = 3


@dataclass(frozen=True)
class Curve:
    """Displacement of an arm, by KL weight; mean over tasks."""

    weights: Sequence[float]
    """Ascending."""
    displacements: Sequence[float]

    def weight_at(self, target: float) -> float | None:
        """The weight that reaches a displacement, by monotone interpolation; None outside the range of the points."""
        fallen = np.minimum.accumulate(self.displacements)  # noise must not make the curve rise
        if not fallen[-1] <= target <= fallen[0]:
            return None
        logs = np.linspace(math.log(self.weights[0]), math.log(self.weights[-1]), 10_001)
        curve = PchipInterpolator(np.log(self.weights), fallen)(logs)
        return rounded(math.exp(logs[int(np.argmin(np.abs(curve - target)))]))


def rounded(value: float) -> float:
    """A value with the digits that are frozen."""
    return float(f"{value:.{DIGITS}g}")


def shares_of_targets(fine_tuning: float, smallest: float) -> list[float]:
    """The targets as shares of the displacement of fine-tuning, by the rule.

    smallest: displacement that contexts at temperature 1 reach.
    """
    shares: list[float] = PILOT["shares"]
    if smallest <= shares[-1] * fine_tuning:
        return shares
    last = math.ceil(10 * smallest / fine_tuning) / 10
    return [shares[0], (shares[0] + last) / 2, last]


class Pilot:
    """The runs of the pilot, read from a folder or computed."""

    def __init__(self, folder: Path, tasks: Sequence[str]) -> None:
        self.folder, self.tasks = folder, tasks
        self.recipe = load_recipe(RECIPE)
        folder.mkdir(parents=True, exist_ok=True)

    def cell(self, task: str, method: str, weight: float, temperature: float) -> Cell:
        """A cell of the pilot."""
        settings = {"lr": PILOT["lr"], "kl_weight": weight}
        reading = Reading(context_temperature=temperature)
        return self.recipe.cell(task, method, settings, PILOT["seed"], self.recipe.training, reading)

    def temperature(self, name: str) -> float:
        """The temperature of a head at the entropy of random vectors, the geometric mean over all tasks."""
        found = []
        for task in PILOT["tasks"]:
            path = self.folder / f"{_word(task)}-temperatures.json"
            if not path.is_file():
                cell = self.cell(task, "car_ft", 1.0, 1.0)
                heads = head_strengths(cell, Execution(), BUILT_IN, PILOT["draws"])
                _write(path, {head.head: head.temperature for head in heads})
            found.append(json.loads(path.read_text(encoding="utf-8"))[f"{name}, softened"])
        return rounded(math.exp(np.mean(np.log(found))))

    def measured(self, arm: Mapping[str, Any], weight: float) -> dict[str, float]:
        """Displacement on training and on validation images of an arm at a weight, mean over tasks."""
        temperature = self.temperature(arm["softened"]) if "softened" in arm else 1.0
        runs = [self._run(self.cell(task, arm["method"], weight, temperature)) for task in self.tasks]
        return {name: float(np.mean([run[name] for run in runs])) for name in runs[0]}

    def _run(self, cell: Cell) -> dict[str, float]:
        path = self.folder / f"{_word(cell.task)}-{cell.id}.json"
        if not path.is_file():
            context = CellContext.of(cell, Execution(), BUILT_IN)
            computed = compute(cell, context)
            images = context.task.val
            tuned, start = (
                embed(network, images, context.pretrained, cell.precision)
                for network in (computed.network, context.network())
            )
            after = float(displacement(start, tuned))
            _write(path, {"train": computed.metrics["train/displacement"], "val": after})
        return json.loads(path.read_text(encoding="utf-8"))

    def curve(self, arm: Mapping[str, Any], weights: Sequence[float]) -> Curve:
        """The displacements of an arm at these weights."""
        ascending = sorted(weights)
        return Curve(ascending, [self.measured(arm, weight)["train"] for weight in ascending])


def main() -> None:
    """Run what is not in the folder yet; without ``--task`` also write the frozen weights."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.strength_pilot", description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--task", help="run the given weights on one task alone, and write nothing")
    asked = parser.parse_args()
    pilot = Pilot(asked.folder, [asked.task] if asked.task else PILOT["tasks"])
    first, *_ = PILOT["arms"]
    fine_tuning = pilot.measured(first, PILOT["fine_tuning"])
    curves = {arm["name"]: pilot.curve(arm, PILOT["kl_weights"]) for arm in PILOT["arms"]}
    if not asked.task:
        shares = shares_of_targets(fine_tuning["train"], min(curves[first["name"]].displacements))
        _write_measured(pilot, fine_tuning, curves, shares)


def _write_measured(
    pilot: Pilot, fine_tuning: Mapping[str, float], curves: Mapping[str, Curve], shares: Sequence[float]
) -> None:
    """Run the weights found, interpolate again, and write what is frozen and the points that it rests on."""
    targets = [rounded(share * fine_tuning["train"]) for share in shares]
    arms, points = [], {}
    for arm in PILOT["arms"]:
        found = [weight for target in targets if (weight := curves[arm["name"]].weight_at(target)) is not None]
        curve = pilot.curve(arm, {*PILOT["kl_weights"], *found})
        weights = [curve.weight_at(target) for target in targets]
        strengths = [
            {"displacement": target, "kl_weight": weight}
            for target, weight in zip(targets, weights, strict=True)
            if weight is not None
        ]
        temperature = pilot.temperature(arm["softened"]) if "softened" in arm else 1.0
        frozen = {"name": arm["name"], "method": arm["method"], "context_temperature": temperature}
        arms.append({**frozen, "strengths": strengths})
        points[arm["name"]] = [{"kl_weight": weight, **_short(pilot.measured(arm, weight))} for weight in curve.weights]
    content = {"fine_tuning": _short(fine_tuning), "shares": list(shares), "arms": arms, "points": points}
    text = f"# Written by `python -m benchmarks.strength_pilot`; the rule is in strength_pilot.yaml.\n{_yaml(content)}"
    MEASURED.write_text(text, encoding="utf-8")


def _short(values: Mapping[str, float]) -> dict[str, float]:
    return {name: round(value, 4) for name, value in values.items()}


def _yaml(content: Any) -> str:
    return yaml.safe_dump(content, sort_keys=False, width=120)


def _word(task: str) -> str:
    return task.rpartition("/")[2]


def _write(path: Path, content: Any) -> None:
    write_atomic(path, lambda part: part.write_text(json.dumps(content) + "\n", encoding="utf-8"))


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
