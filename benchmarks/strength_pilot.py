"""``python -m benchmarks.strength_pilot FOLDER``: the KL weights at which terms with other heads are equally strong.

``strength_pilot.yaml``, or another ``--rule``, has what is run and the rule. Every run is one file in FOLDER, so that a
stopped pilot goes on. It writes ``strength_measured.yaml`` beside the rule, whose arms ``sweeps/recipes/strength.yaml``
copies. Several processes may share a FOLDER, each with a ``--task`` or ``--arms`` of its own.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from scipy.interpolate import PchipInterpolator

from carft.catalog.catalog import BUILT_IN
from carft.config.cell import Cell, Reading
from carft.core.files import write_atomic
from carft.data.folder.named import tasks_in
from carft.methods.car_ft import displacement
from carft.models.network import embed
from carft.posthoc.head_strength import head_strengths
from carft.training.context import CellContext
from carft.training.execution import Execution
from carft.training.run import compute
from sweeps.recipes.loading import load_recipe

RULE = Path(__file__).with_name("strength_pilot.yaml")
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


class Pilot:
    """The runs of a pilot, read from a folder or computed."""

    def __init__(
        self, folder: Path, rule: Path = RULE, pretrained: str | None = None, tasks_file: Path | None = None
    ) -> None:
        self.folder = folder
        self.rule: Mapping[str, Any] = yaml.safe_load(rule.read_text(encoding="utf-8"))
        plugins = [rule.parent / name for name in self.rule.get("plugins", ())]
        catalog = BUILT_IN.with_plugins(plugins)
        if tasks_file is not None:
            catalog = catalog.with_tasks(tasks_in(tasks_file, self.rule["tasks"]))
        self.catalog = catalog
        self.recipe = load_recipe(self.rule["recipe"], catalog=catalog).changed(self.tasks, pretrained=pretrained)
        folder.mkdir(parents=True, exist_ok=True)

    @property
    def tasks(self) -> list[str]:
        """The tasks over which displacements are averaged."""
        return list(self.rule["tasks"])

    @property
    def arms(self) -> list[Mapping[str, Any]]:
        """The arms, contexts at temperature 1 first where plain fine-tuning is measured."""
        return list(self.rule["arms"])

    def run_fine_tuning(self, task: str) -> dict[str, float]:
        """As of :meth:`run`, of plain fine-tuning."""
        return self.run(task, self.arms[0], self.rule["fine_tuning"])

    def fine_tuning(self) -> dict[str, float]:
        """Of plain fine-tuning, mean over tasks."""
        return self.mean(self.arms[0], self.rule["fine_tuning"])

    def targets(self) -> list[float]:
        """The displacements that arms shall reach: those that the rule names, or shares of that of fine-tuning."""
        if "targets" in self.rule:
            return list(self.rule["targets"])
        whole = self.fine_tuning()["train"]
        return [rounded(share * whole) for share in self.rule["shares"]]

    def temperature(self, arm: Mapping[str, Any]) -> float:
        """Of an arm: 1, or that at the entropy of random vectors, the geometric mean over all tasks."""
        if "softened" not in arm:
            return 1.0
        found = []
        for task in self.tasks:
            path = self.folder / f"{_word(task)}-temperatures.json"
            if not path.is_file():
                cell = self._cell(task, self.arms[0], 1.0)
                heads = head_strengths(cell, Execution(), self.catalog, self.rule["draws"])
                _write(path, {head.head: head.temperature for head in heads})
            found.append(json.loads(path.read_text(encoding="utf-8"))[f"{arm['softened']}, softened"])
        return rounded(math.exp(np.mean(np.log(found))))

    def run(self, task: str, arm: Mapping[str, Any], weight: float) -> dict[str, float]:
        """Displacement of an arm at a weight, on the training images of a task and on the validation images."""
        cell = self._cell(task, arm, weight)
        path = self.folder / f"{_word(task)}-{cell.id}.json"
        if not path.is_file():
            context = CellContext.of(cell, Execution(), self.catalog)
            computed = compute(cell, context)
            images = context.task.val
            tuned, start = (
                embed(network, images, context.pretrained, cell.precision)
                for network in (computed.network, context.network())
            )
            after = float(displacement(start, tuned))
            _write(path, {"train": computed.metrics["train/displacement"], "val": after})
        return json.loads(path.read_text(encoding="utf-8"))

    def mean(self, arm: Mapping[str, Any], weight: float) -> dict[str, float]:
        """As of :meth:`run`, mean over tasks."""
        runs = [self.run(task, arm, weight) for task in self.tasks]
        return {name: float(np.mean([run[name] for run in runs])) for name in runs[0]}

    def curve(self, arm: Mapping[str, Any], weights: Iterable[float]) -> Curve:
        """The displacements of an arm at these weights."""
        ascending = sorted(weights)
        return Curve(ascending, [self.mean(arm, weight)["train"] for weight in ascending])

    def _cell(self, task: str, arm: Mapping[str, Any], weight: float) -> Cell:
        settings = {"lr": self.rule["lr"], "kl_weight": weight}
        reading = Reading(context_temperature=self.temperature(arm))
        return self.recipe.cell(task, arm["method"], settings, self.rule["seed"], self.recipe.training, reading)


def main() -> None:
    """Run what is not in the folder yet; with all tasks and arms also write the frozen weights."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.strength_pilot", description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--rule", type=Path, default=RULE, help="file *_pilot.yaml with what is run")
    parser.add_argument("--pretrained", help="weights of another world; what is measured is then written to FOLDER")
    parser.add_argument("--tasks-file", type=Path, help="file of the rule's tasks, where they are on data of one's own")
    parser.add_argument("--task", help="the runs of this task alone")
    parser.add_argument("--arms", help="the runs of these arms alone, comma-separated")
    parser.add_argument(
        "--found", action="store_true", help="of them those at the weights found, which needs the others"
    )
    asked = parser.parse_args()
    pilot = Pilot(asked.folder, asked.rule, asked.pretrained, asked.tasks_file)
    tasks = [asked.task] if asked.task else pilot.tasks
    arms = [arm for arm in pilot.arms if asked.arms is None or arm["name"] in asked.arms.split(",")]
    is_whole = not (asked.task or asked.arms)
    for task in tasks:
        if "shares" in pilot.rule:
            pilot.run_fine_tuning(task)
        for arm in arms:
            for weight in arm["kl_weights"]:
                pilot.run(task, arm, weight)
    if not (is_whole or asked.found):
        return
    targets = pilot.targets()
    found = {arm["name"]: _found(pilot, arm, targets) for arm in arms}
    for task in tasks:
        for arm in arms:
            for weight in found[arm["name"]]:
                pilot.run(task, arm, weight)
    if is_whole:
        is_other_world = asked.pretrained or asked.tasks_file
        folder = asked.folder if is_other_world else asked.rule.parent
        written = folder / asked.rule.name.replace("_pilot", "_measured")
        _write_measured(written, asked.rule.name, pilot, targets, found)


def _found(pilot: Pilot, arm: Mapping[str, Any], targets: Sequence[float]) -> list[float]:
    """The weights at which an arm reaches the targets, by the weights that are given; those that it reaches."""
    curve = pilot.curve(arm, arm["kl_weights"])
    return [weight for target in targets if (weight := curve.weight_at(target)) is not None]


def _write_measured(
    written: Path, rule: str, pilot: Pilot, targets: Sequence[float], found: Mapping[str, Sequence[float]]
) -> None:
    """Interpolate again with the weights found, and write what is frozen and the points that it rests on."""
    arms, points = [], {}
    for arm in pilot.arms:
        curve = pilot.curve(arm, {*arm["kl_weights"], *found[arm["name"]]})
        weights = [curve.weight_at(target) for target in targets]
        strengths = [
            {"displacement": target, "kl_weight": weight}
            for target, weight in zip(targets, weights, strict=True)
            if weight is not None
        ]
        frozen = {"name": arm["name"], "method": arm["method"], "context_temperature": pilot.temperature(arm)}
        arms.append({**frozen, "strengths": strengths})
        points[arm["name"]] = [{"kl_weight": weight, **_short(pilot.mean(arm, weight))} for weight in curve.weights]
    content: dict[str, Any] = {"arms": arms, "points": points}
    if "shares" in pilot.rule:
        content = {"fine_tuning": _short(pilot.fine_tuning()), **content}
    head = f"# Written by `python -m benchmarks.strength_pilot`; the rule is in {rule}.\n"
    written.write_text(head + yaml.safe_dump(content, sort_keys=False, width=120), encoding="utf-8")


def _short(values: Mapping[str, float]) -> dict[str, float]:
    return {name: round(value, 4) for name, value in values.items()}


def _word(task: str) -> str:
    return task.rpartition("/")[2]


def _write(path: Path, content: Any) -> None:
    write_atomic(path, lambda part: part.write_text(json.dumps(content) + "\n", encoding="utf-8"))


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
