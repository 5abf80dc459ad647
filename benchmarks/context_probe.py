"""``python -m benchmarks.context_probe RESULTS FOLDER``: is the context lost from the features, or from the prompts?

RESULTS holds the records of the audit (``results import audit/records.zip --to RESULTS``). A compact archive keeps no
weights, so the first confirm cell of search 1 of each method is trained again here: 27 trainings. The probe is fitted
on validation drawings, rendered in every context, and scored on the suites, which these cells have opened before.
Its numbers stand beside recognition by the frozen prompts, which is that of the networks trained here.

Every task is one file in FOLDER, so that a stopped run goes on. With all tasks ``context_probe.csv`` is written.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from carft.catalog.catalog import BUILT_IN
from carft.config.cell import Cell
from carft.data.icons.drawings import drawings_of
from carft.data.icons.rendering import spread
from carft.data.icons.tasks import image_set
from carft.data.icons.world import PROMPTS
from carft.data.task import ImageSet
from carft.methods.linear_probe import Solution, logistic_regression
from carft.models.heads import context_logits
from carft.models.network import Network, embed, interpolate
from carft.store.records import Store
from carft.training.context import CellContext
from carft.training.execution import Execution
from carft.training.run import compute

TABLE = Path(__file__).with_name("context_probe.csv")
FAMILY, MODEL = "icons-3-full/", "icons-resnet"
METHODS = ("ft", "car_ft", "car_ft_random")
ALPHA = 0.5
#: penalty of the probe, the same for all networks
L2 = 1e-4


@dataclass(frozen=True)
class ContextProbe:
    """Logistic regression from L2-normalised image features (D,) to contexts.

    Recognition by prompts is low if features lost the context, or if they moved away from the prompts.
    A probe that is fitted on the features tells the two apart.
    """

    solution: Solution
    """Rows are contexts."""

    @staticmethod
    def fitted(features: torch.Tensor, contexts: torch.Tensor, count: int, l2: float) -> ContextProbe:
        """The probe of features (N, D) with contexts (N,), indices below ``count``; ``l2`` as of the linear probe."""
        return ContextProbe(logistic_regression(features, contexts, count, l2))

    def recognition(self, features: torch.Tensor, contexts: torch.Tensor) -> float:
        """Share of the images (N, D) whose context is named, the mean over contexts, in [0, 1].

        contexts: (N,) indices, -1 where unknown; these images do not count. NaN without a known context.
        """
        named = (features @ self.solution.weight.T + self.solution.bias).argmax(-1)
        known = contexts[contexts >= 0].unique()
        shares = [(named[contexts == context] == context).float().mean() for context in known]
        return float(torch.stack(shares).mean()) if shares else float("nan")


def main() -> None:
    """Measure the tasks that are not in the folder yet, and print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.context_probe", description=__doc__)
    parser.add_argument("results", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--task", help="measure this task alone, and write no table")
    asked = parser.parse_args()
    asked.folder.mkdir(parents=True, exist_ok=True)
    rows = []
    tasks = cells_of(Store(asked.results))
    for task, cells in sorted(tasks.items()):
        if asked.task not in (None, task):
            continue
        path = asked.folder / f"{task.rpartition('/')[2]}.json"
        if not path.is_file():
            path.write_text(json.dumps(measured(task, cells)) + "\n", encoding="utf-8")
        rows.append(json.loads(path.read_text(encoding="utf-8")))
    if not asked.task:
        table = pd.DataFrame(_line(name, [row[name] for row in rows]) for name in rows[0])
        table.to_csv(TABLE, index=False)
        print(table.to_string(index=False))


def _line(name: str, found: Sequence[Mapping[str, float]]) -> dict[str, object]:
    """A network's row of the table: means over tasks, and the range of the probe over tasks, in %."""
    probe, prompts = (np.array([100 * one[which] for one in found]).round(1) for which in ("probe", "prompts"))
    ends = {"probe_low": probe.min(), "probe_high": probe.max()}
    means = {"probe": probe.mean().round(1), "prompts": prompts.mean().round(1)}
    return {"network": name, **means, **ends, "tasks": len(found)}


def cells_of(store: Store) -> dict[str, dict[str, Cell]]:
    """Task -> method -> the first confirm cell of search 1."""
    found: dict[str, dict[str, Cell]] = {}
    for study in store.studies():
        is_asked = study.search == 1 and study.method in METHODS and study.model == MODEL and study.confirm
        if is_asked and study.task.startswith(FAMILY):
            found.setdefault(study.task, {})[study.method] = store.read(study.confirm[0]).cell
    return found


def measured(task: str, cells: Mapping[str, Cell]) -> dict[str, dict[str, float]]:
    """Method -> recognition of contexts on the suites, by the probe and by the prompts; means over suites."""
    context = CellContext.of(cells[METHODS[0]], Execution(), BUILT_IN)
    networks = {"zeroshot": context.network()}
    networks |= {method: compute(cells[method], context).network for method in METHODS}
    mixed, start = context.network(), context.network().state_dict()
    mixed.load_state_dict(interpolate(start, networks["ft"].state_dict(), ALPHA))
    networks["wise_ft of ft"] = mixed
    contexts = tuple(PROMPTS)
    fitted = image_set(task, spread(drawings_of(task, "val"), contexts, len(contexts)))
    suites = [images for name, images in context.sealed().items() if name.startswith("ood/")]
    return {name: _recognition(context, network, fitted, suites) for name, network in networks.items()}


def _recognition(context: CellContext, network: Network, fitted: ImageSet, suites: list[ImageSet]) -> dict[str, float]:
    def features(images: ImageSet) -> torch.Tensor:
        return embed(network, images, context.pretrained)

    probe = ContextProbe.fitted(features(fitted), fitted.contexts, len(PROMPTS), L2)
    of_probe, of_prompts = [], []
    for images in suites:
        shown = features(images)
        named = context_logits(shown, context.prompts.known, context.pretrained.scale, 1.0).argmax(-1)
        known = images.contexts[images.contexts >= 0].unique()
        hits = [float((named[images.contexts == one] == one).float().mean()) for one in known]
        of_probe.append(probe.recognition(shown, images.contexts))
        of_prompts.append(float(np.mean(hits)))
    return {"probe": float(np.mean(of_probe)), "prompts": float(np.mean(of_prompts))}


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
