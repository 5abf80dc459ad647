"""``python -m benchmarks.icons_gate CANDIDATE WEIGHTS``: measure the registered criteria of world icons-2.

CANDIDATE is the number of a candidate in ``icons_gate.yaml``, from 1; WEIGHTS a folder with the weights that its
pretraining gave. Only zero-shot and plain fine-tuning are run. docs/icons-world.md has the result.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml

from carft.core.metrics import Predictions
from carft.data.catalog import FULL_ICONS
from carft.data.icons import world
from carft.data.icons.drawings import census
from carft.data.icons.pretraining import zero_shot_table
from carft.models.clip import load_pretrained
from carft.spec.cell import Training
from carft.spec.resolve import specify
from carft.training.context import CellContext
from carft.training.execution import Execution
from carft.training.run import compute
from reports.stats.intervals import Contributions, Estimate, pooled, two_way

REGISTRATION: dict[str, Any] = yaml.safe_load(Path(__file__).with_name("icons_gate.yaml").read_text(encoding="utf-8"))
SEEDS: list[int] = REGISTRATION["seeds"]


@dataclass(frozen=True)
class Hits:
    """One set of one task: which images each run got right."""

    names: np.ndarray
    """(G,) names of the drawings."""
    groups: np.ndarray
    """(N,) number of each image's drawing."""
    labels: np.ndarray
    """(G,) class of each drawing."""
    zero_shot: np.ndarray
    """(N,) bool."""
    tuned: np.ndarray
    """(S, N) bool, one row a seed."""

    def contributions(self, hits: np.ndarray) -> Contributions:
        """Return the contributions of drawings to the mean of hits (S, N)."""
        size = len(self.labels)
        images = np.bincount(self.groups, minlength=size)
        values = np.stack([np.bincount(self.groups, row / len(self.groups), size) for row in hits])
        return Contributions(values, self.labels, images / images.sum(), images)


def main() -> None:
    """Measure one candidate, print the criteria, write them as JSON beside the weights."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.icons_gate", description=__doc__)
    parser.add_argument("candidate", type=int)
    parser.add_argument("weights", type=Path)
    parser.add_argument("--model", default="icons-resnet")
    asked = parser.parse_args()
    chosen = REGISTRATION["candidates"][asked.candidate - 1]
    weights = asked.weights / f"{asked.model}.safetensors"
    jobs = [(task, asked.model, str(weights), chosen["renderings"], chosen["epochs"]) for task in FULL_ICONS]
    with get_context("spawn").Pool(2) as pool:
        measured = pool.starmap(measure, jobs, chunksize=1)
    found = criteria(measured) | {"context_recognition_low": 100 * weakest_context(asked.model, str(weights))}
    print(table(found))
    text = json.dumps({"candidate": chosen, "model": asked.model, "criteria": found}, indent=1)
    (asked.weights / f"gate-{asked.candidate}.json").write_text(text + "\n")


def measure(task: str, model: str, weights: str, renderings: int, epochs: int) -> dict[str, Hits]:
    """Fine-tune with every seed. Returns the hits of train, val, test and the suites."""
    world.RENDERINGS["train"] = renderings
    execution = Execution()
    execution.prepare()

    def predictions(method: str, seed: int) -> dict[str, Predictions]:
        hyperparameters = {"lr": REGISTRATION["lr"]} if method == "ft" else {}
        cell = specify(task, method, hyperparameters, seed, Training(epochs=epochs), model=model, pretrained=weights)
        context = CellContext.of(cell, execution)
        computed = compute(cell, context)
        sets = {"train": context.task.train, **context.sealed()}
        return {"val": computed.predictions} | {
            name: context.predict(cell, computed.network, images) for name, images in sets.items()
        }

    start = predictions("zeroshot", 0)
    tuned = [predictions("ft", seed) for seed in SEEDS]
    return {name: _hits(start[name], [run[name] for run in tuned]) for name in start}


def _hits(start: Predictions, tuned: Sequence[Predictions]) -> Hits:
    names, first, groups = np.unique(np.asarray(start.groups), return_index=True, return_inverse=True)
    right = [p.predicted == p.labels for p in (start, *tuned)]
    return Hits(names, groups, start.labels[first], right[0], np.stack(right[1:]))


def criteria(measured: list[dict[str, Hits]]) -> dict[str, float]:
    """Return the measured value of each criterion, in points of accuracy or %."""
    val = [sets["val"] for sets in measured]
    gain = pooled([two_way(h.contributions(h.tuned.astype(float) - h.zero_shot)) for h in val])
    suites = [name for name in measured[0] if name.startswith("ood/")]
    null = {name: [against_itself(sets[name]) for sets in measured] for name in ("test", *suites)}
    mean_ood = pooled([against_itself(*(sets[name] for name in suites)) for sets in measured])
    single = [estimate for estimates in null.values() for estimate in estimates]
    excluded = [not low <= 0 <= high for low, high in (e.interval() for e in single)]
    shares = {
        "zero_shot": np.mean([h.zero_shot.mean() for h in val]),
        "gain": gain.effect,
        "gain_lower_bound": gain.interval()[0],
        "ceiling": np.mean([sets["train"].tuned.mean() - sets["val"].tuned.mean() for sets in measured]),
        "visible_id": visible(pooled(null["test"])),
        "visible_ood": visible(mean_ood),
        "visible_suite": max(visible(pooled(null[name])) for name in suites),
        "visible_task": max(visible(e) for e in null["test"]),
        "false_verdicts": np.mean(excluded),
        "visible_id, 3 runs a side": pooled(null["test"]).smallest_visible(),
        "visible_ood, 3 runs a side": mean_ood.smallest_visible(),
        "zero_shot_test": np.mean([sets["test"].zero_shot.mean() for sets in measured]),
        "tuned_test": np.mean([sets["test"].tuned.mean() for sets in measured]),
        "zero_shot_ood": np.mean([sets[name].zero_shot.mean() for sets in measured for name in suites]),
        "tuned_ood": np.mean([sets[name].tuned.mean() for sets in measured for name in suites]),
    }
    return {name: 100 * float(value) for name, value in shares.items()}


def visible(estimate: Estimate) -> float:
    """Return the smallest visible difference with ``full_runs`` runs a side, from the measured components."""
    return estimate.scaled(seeds=REGISTRATION["full_runs"] / (len(SEEDS) // 2)).smallest_visible()


def against_itself(*sets: Hits) -> Estimate:
    """Return the difference between the halves of the seeds, whose true value is 0, as the mean of the sets.

    A drawing that is in several sets is one group.
    """
    half = len(SEEDS) // 2
    parts = [hits.contributions(hits.tuned[:half].astype(float) - hits.tuned[half:]) for hits in sets]
    if len(parts) == 1:
        return two_way(parts[0])
    names, code = np.unique(np.concatenate([hits.names for hits in sets]), return_inverse=True)
    where = np.split(code, np.cumsum([len(hits.names) for hits in sets])[:-1])
    values, weights, images = np.zeros((half, len(names))), np.zeros(len(names)), np.zeros(len(names))
    labels = np.zeros(len(names), np.int64)
    for hits, part, at in zip(sets, parts, where, strict=True):
        values[:, at] += part.values / len(sets)
        weights[at] += part.weights / len(sets)
        images[at] += part.images
        labels[at] = hits.labels
    return two_way(Contributions(values, labels, weights, images))


def weakest_context(model: str, weights: str) -> float:
    """Return the smallest zero-shot context recognition of all contexts, on the validation drawings."""
    drawings = [d for d in census() if d.split == "val"]
    return min(
        row["context"] for row in zero_shot_table(model, load_pretrained(model, weights).clip, drawings).values()
    )


def table(found: dict[str, float]) -> str:
    """Return measured values beside what was registered, as lines of text."""
    wanted = REGISTRATION["criteria"]
    return "\n".join(f"{name:26} {value:8.2f}   {wanted.get(name, '')}" for name, value in found.items())


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
