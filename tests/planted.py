"""A results folder with planted effects: real records and studies, made-up predictions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from carft import NUMERICS
from carft.cell import Cell
from carft.data.catalog import card
from carft.methods import WISE_ALPHAS
from carft.metrics import Predictions, flatten, score
from carft.records import Record, Store
from carft.specify import interpolation, specify

PROVENANCE = {
    "numerics": NUMERICS,
    "carft": "planted",
    "python": "3",
    "packages": {"torch": "0"},
    "machine": {},
    "execution": {"device": "cpu", "workers": 1, "threads": 1},
    "digests": {},
}
HYPERPARAMETERS = {"zeroshot": {}, "ft": {"lr": 3e-4}, "car_ft": {"lr": 3e-4, "kl_weight": 1.0}}


@dataclass(frozen=True)
class Plan:
    """Accuracy and context recognition of each method; how much of it seeds and groups move, in shares of 1."""

    top1: Mapping[str, float]
    context: Mapping[str, float]
    seeds: Sequence[int] = (1, 2, 3)
    groups: int = 60
    spread: float = 0.02


def predictions(task: str, name: str, top1: float, context: float, plan: Plan, rng: np.random.Generator) -> Predictions:
    """Two images of each group. A group is easy or hard for every method alike, so that pairing matters."""
    classes, templates = len(card(task).classes), len(card(task).templates)
    groups = [f"{name}-{k}" for k in range(plan.groups) for _ in range(2)]
    ease = np.random.default_rng(len(task)).random(plan.groups).repeat(2)
    count = len(groups)
    labels, contexts = np.arange(count) % classes, np.arange(count) % templates

    def logits(width: int, truth: np.ndarray, share: float) -> np.ndarray:
        right = ease + rng.normal(0, plan.spread, count) < share
        values = np.zeros((count, width), np.float32)
        values[np.arange(count), np.where(right, truth, (truth + 1) % width)] = 5.0
        return values

    shown = logits(classes, labels, top1), logits(templates, contexts, context)
    return Predictions([f"{g}/{i}" for i, g in enumerate(groups)], groups, labels, contexts, *shown)


def write(store: Store, cell: Cell, top1: float, context: float, plan: Plan, unseal: bool = True) -> None:
    """A finished cell with planted predictions on val and, unsealed, on test and suites."""
    rng = np.random.default_rng(int(cell.id, 16))
    val = predictions(cell.task, "val", top1, context, plan, rng)
    history = [{"epoch": 0.0, "train/loss": 1.0, "val/top1": top1}] if cell.method != "zeroshot" else []
    store.write(Record(cell, flatten("val", score(val)), PROVENANCE, {"train": 0.0}), history, val)
    if unseal:
        for name in ("test", *(f"ood/{suite}" for suite in card(cell.task).suites)):
            kind = "hands" if name.endswith("hands") else "drawing"
            made = predictions(cell.task, kind, top1, context, plan, rng)
            store.add_evaluation(cell.id, name, flatten(name, score(made)), made, {})


def plant(store: Store, tasks: Sequence[str], plan: Plan, epochs: int = 6) -> None:
    """Zero-shot, studies and confirm cells of ft and car_ft, and WiSE-FT curves that move linearly."""
    for task in tasks:
        for method in plan.top1:
            base = specify(task, method, HYPERPARAMETERS[method])
            if method == "zeroshot":
                write(store, base, plan.top1[method], plan.context[method], plan)
                continue
            write(store, base, plan.top1[method], plan.context[method], plan, unseal=False)
            confirm = [specify(task, method, HYPERPARAMETERS[method], seed) for seed in plan.seeds]
            for cell in confirm:
                write(store, cell, plan.top1[method], plan.context[method], plan)
                for alpha in WISE_ALPHAS:
                    mixed = {m: (1 - alpha) * v["zeroshot"] + alpha * v[method] for m, v in _both(plan).items()}
                    write(store, interpolation(cell, alpha), mixed["top1"], mixed["context"], plan)
            trial = {"trial": 0, "parameters": HYPERPARAMETERS[method], "cell": base.id, "status": "done"}
            store.write_study(
                f"{task.replace('/', '-')}-{method}-{epochs}",
                {
                    "id": f"{task}-{method}-{epochs}",
                    "task": task,
                    "method": method,
                    "data_version": base.data_version,
                    "model": base.model,
                    "pretrained": base.pretrained,
                    "training": {"epochs": epochs},
                    "trials": [trial],
                    "winner": base.id,
                    "confirm": [cell.id for cell in confirm],
                },
            )


def _both(plan: Plan) -> dict[str, Mapping[str, float]]:
    return {"top1": {"zeroshot": 0.0, **plan.top1}, "context": {"zeroshot": 0.0, **plan.context}}
