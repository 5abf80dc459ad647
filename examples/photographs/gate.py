"""``python examples/photographs/gate.py ROOT STATE``: measure the criteria of ``gate.yaml`` for a candidate.

STATE is the folder of ``pretrain.py``, with the candidate's weights. Zero-shot, FT, WiSE-FT and L2-SP are measured, on
validation images alone; no method with a context term is run. Each finished run lies in STATE, so an interrupted
measurement goes on with the same command. The criteria are printed, and written to STATE/gate-N/criteria.json.
"""

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
import yaml
from common import CONTEXTS, DOMAINS, HERE, RENDERINGS, pixels, rendered, table_rows
from prepare import prepare
from pretrain import STORED
from torchvision.transforms.v2 import InterpolationMode
from torchvision.transforms.v2 import functional as tv

from carft.config.catalog import BUILT_IN
from carft.config.cell import Training
from carft.config.resolve import specify
from carft.data.folder.named import tasks_in
from carft.data.task import ImageSet
from carft.models.network import interpolate
from carft.training.context import CellContext
from carft.training.execution import Execution
from carft.training.run import compute
from reports.stats.intervals import Contributions, Estimate, two_way

REGISTERED: dict[str, Any] = yaml.safe_load((HERE / "gate.yaml").read_text(encoding="utf-8"))
SEEDS: list[int] = REGISTERED["seeds"]
#: bins of equal width in [0, 1] of the calibration error
BINS = 15
#: validation images that a training is followed by, since the gate measures all of them after it
FEW = 8


@dataclass
class Gate:
    """A candidate and what is measured of it."""

    root: Path
    state: Path
    number: int

    def __post_init__(self) -> None:
        self.settings = REGISTERED["candidates"][self.number - 1]
        self.folder = self.state / f"gate-{self.number}"
        self.folder.mkdir(exist_ok=True)
        tasks = tasks_in(prepare(self.root, self.settings["more"]))
        self.catalog = BUILT_IN.with_tasks(tasks)
        self.tasks = {task.name: task for task in tasks}
        self.execution = Execution()
        self.execution.prepare()

    @cached_property
    def images(self) -> ImageSet:
        """The validation images of all four domains."""
        table = self.catalog.own.table(next(iter(self.tasks)))
        parts = [table.part(domain, "val") for domain in DOMAINS]
        names = [[path.relative_to(table.base).as_posix() for path in part.paths] for part in parts]
        return ImageSet.of(parts, names, range(len(DOMAINS)))

    def right(self, task: str, method: str, lr: float, seed: int) -> dict[str, np.ndarray]:
        """Return run -> (N,) whether each validation image is named, of one cell and, of FT, its WiSE-FT."""
        path = self.folder / f"{task.rpartition('/')[2]}-{method}-{lr:g}-{seed}.npz"
        if not path.is_file():
            np.savez(path.with_suffix(".part.npz"), **self._run(task, method, lr, seed))
            path.with_suffix(".part.npz").replace(path)
            print(f"{path.stem}", flush=True)
        with np.load(path, allow_pickle=False) as stored:
            return {name: stored[name] for name in stored.files}

    def _run(self, task: str, method: str, lr: float, seed: int) -> dict[str, np.ndarray]:
        own = {"ft": {"lr": lr}, "l2_sp": {"lr": lr, "l2_weight": REGISTERED["l2_weight"]}}.get(method, {})
        training = Training(**REGISTERED["training"])
        model = f"local-dir:{self.state / f'clip-{self.number}'}"
        cell = specify(task, method, own, seed, training, model=model, catalog=self.catalog)
        context = CellContext.of(cell, self.execution, self.catalog)
        quick = replace(context, task=replace(context.task, val=context.task.val.rows(range(FEW))))
        network = compute(cell, quick).network

        def measured() -> np.ndarray:
            predictions = context.predict(cell, network, self.images)
            return predictions.predicted == predictions.labels

        found = {method: measured()}
        if method == "ft":
            start = context.network().state_dict()
            network.load_state_dict(interpolate(start, network.state_dict(), 0.5))
            found["wise_ft"] = measured()
        return found

    def shares(self, task: str, held_out: bool) -> np.ndarray:
        """Return the weight (N,) of each validation image in a task's accuracy; it is 0 for images of other sets."""
        named = self.tasks[task]
        wanted = [DOMAINS.index(domain) for domain in (named.ood_domains if held_out else named.id_domains)]
        used = np.isin(self.images.contexts.numpy(), wanted)
        return used / used.sum()

    def difference(self, first: dict[str, np.ndarray], second: dict[str, np.ndarray], held_out: bool) -> Estimate:
        """Return first - second, the mean of the tasks, with groups clustered across tasks. Values: (S, N) by task."""
        _, group = np.unique(np.array(self.images.groups), return_inverse=True)
        made, weights = np.zeros((len(SEEDS), group.max() + 1)), np.zeros(group.max() + 1)
        for task in self.tasks:
            share = self.shares(task, held_out) / len(self.tasks)
            values = share * (first[task].astype(float) - second[task])
            np.add.at(weights, group, share)
            for seed, row in enumerate(np.broadcast_to(values, (len(SEEDS), len(share)))):
                np.add.at(made[seed], group, row)
        count = np.bincount(group)
        return two_way(Contributions(made, np.zeros(len(count), np.int64), weights, count, np.ones(len(SEEDS))))

    def accuracy(self, rights: dict[str, np.ndarray], held_out: bool) -> float:
        """Return the mean accuracy of the tasks. rights: (S, N) by task."""
        return float(np.mean([(rights[task] @ self.shares(task, held_out)).mean() for task in self.tasks]))

    def all_of(self, run: str, method: str, lr: float, seeds: Sequence[int]) -> dict[str, np.ndarray]:
        """Return task -> (S, N)."""
        return {task: np.stack([self.right(task, method, lr, seed)[run] for seed in seeds]) for task in self.tasks}

    @torch.inference_mode()
    def contexts(self) -> dict[str, Any]:
        """Return the recognition of the 12 contexts, in %, and how sure and how calibrated it is."""
        path = self.folder / "contexts.json"
        if path.is_file():
            return json.loads(path.read_text(encoding="utf-8"))
        model = f"local-dir:{self.state / f'clip-{self.number}'}"
        cell = specify(next(iter(self.tasks)), "zeroshot", {}, model=model, catalog=self.catalog)
        context = CellContext.of(cell, self.execution, self.catalog)
        side, head = context.pretrained.side, context.prompts.contexts
        rows = table_rows(self.root, ["val"])
        stored = pixels(self.root, rows, STORED)
        logits, known, labels = [], [], []
        for name in CONTEXTS:
            shown = [i for i, row in enumerate(rows) if row["domain"] == ("photo" if name in RENDERINGS else name)]
            for first in range(0, len(shown), 64):
                images = []
                for image in shown[first : first + 64]:
                    noise = torch.Generator().manual_seed(image * 101 + CONTEXTS.index(name))
                    images.append(rendered(stored[image], name, noise))
                batch = tv.resize(torch.stack(images), [side, side], InterpolationMode.BICUBIC, antialias=True)
                features = context.pretrained.clip.encode_image(context.pretrained.normalise(batch))
                features = context.pretrained.scale * F.normalize(features, dim=-1)
                logits.append(features @ head.T)
                known.append(features @ context.prompts.known.T)
                labels += [CONTEXTS.index(name)] * len(batch)
        p, label = torch.cat(logits).double().softmax(-1).numpy(), np.array(labels)
        sure, hits = p.max(1), p.argmax(1) == label
        of_domains = (torch.cat(known).argmax(1).numpy() == label)[label < len(DOMAINS)]
        each = {name: round(100 * float(hits[label == k].mean()), 1) for k, name in enumerate(CONTEXTS)}
        bins = np.minimum((sure * BINS).astype(int), BINS - 1)
        found = {
            "context_mean": float(np.mean(list(each.values()))),
            "context_confidence": 100 * float(sure.mean()),
            "context_calibration_error": 100 * float(np.abs(np.bincount(bins, hits - sure)).sum() / len(sure)),
            "context_log_loss_nats": float(-np.log(p[np.arange(len(label)), label]).mean()),
            "domains_among_four": 100 * float(of_domains.mean()),
            "logit_scale": context.pretrained.scale,
            "each_context": each,
        }
        path.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
        return found

    def zero_shot(self) -> dict[str, np.ndarray]:
        """Return task -> (1, N); the tasks have the same prompts, so it is one measurement."""
        first = next(iter(self.tasks))
        measured = self.right(first, "zeroshot", 0.0, 0)["zeroshot"][None]
        return dict.fromkeys(self.tasks, measured)

    def criteria(self) -> dict[str, Any]:
        """Return the measured value of each criterion, in points of accuracy or %."""
        start = self.zero_shot()
        domains = {}
        for k, domain in enumerate(DOMAINS):
            domains[domain] = 100 * float(start[next(iter(self.tasks))][0][self.images.contexts.numpy() == k].mean())
        found = {"zero_shot": float(np.mean(list(domains.values()))), "zero_shot_by_domain": domains, **self.contexts()}
        print(json.dumps(found, indent=1), flush=True)
        rates = {}
        for lr in REGISTERED["lrs"]:
            tuned = self.all_of("ft", "ft", lr, SEEDS[:1])
            inside, outside = (100 * self.accuracy(tuned, held_out) for held_out in (False, True))
            rates[f"{lr:g}"] = {"in_distribution": inside, "held_out": outside}
            print(f"FT {lr:g}: {inside:.2f} in distribution, {outside:.2f} held out", flush=True)
        lr = max(REGISTERED["lrs"], key=lambda rate: rates[f"{rate:g}"]["in_distribution"])
        found |= {"lr": lr, "ft_by_lr": rates}
        tuned, wise = (self.all_of(run, "ft", lr, SEEDS) for run in ("ft", "wise_ft"))
        held = self.all_of("l2_sp", "l2_sp", lr, SEEDS)
        contrasts = {
            "gain": self.difference(tuned, start, False),
            "forgetting": self.difference(tuned, start, True),
            "wise_ft_in_distribution": self.difference(wise, tuned, False),
            "wise_ft_held_out": self.difference(wise, tuned, True),
            "l2_sp_in_distribution": self.difference(held, tuned, False),
            "l2_sp_held_out": self.difference(held, tuned, True),
        }
        for name, estimate in contrasts.items():
            low, high = estimate.interval()
            found[name] = 100 * estimate.effect
            found[f"{name}_interval"] = [100 * low, 100 * high]
        table = self.catalog.own.table(next(iter(self.tasks)))
        groups = {part: {d: len(set(table.part(d, part).groups)) for d in DOMAINS} for part in ("val", "test")}
        more = sum(groups["test"].values()) / sum(groups["val"].values())
        factors = {"seeds": REGISTERED["full_runs"] / len(SEEDS), "groups": more}
        for name in ("in_distribution", "held_out"):
            found[f"visible_{name}"] = 100 * contrasts[f"l2_sp_{name}"].scaled(**factors).smallest_visible()
        return {**found, "groups": groups}


def main() -> None:
    """Measure one candidate."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("root", type=Path, help="the folder that holds PACS")
    parser.add_argument("state", type=Path, help="the folder of pretrain.py")
    parser.add_argument("--candidate", type=int, default=1, help="number in gate.yaml, from 1")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    gate = Gate(asked.root.resolve(), asked.state.resolve(), asked.candidate)
    found = gate.criteria()
    for name, wanted in REGISTERED["criteria"].items():
        print(f"{name:28} {found[name]:8.2f}   {wanted}")
    text = json.dumps({"candidate": {"number": asked.candidate, **gate.settings}, "criteria": found}, indent=1)
    (gate.folder / "criteria.json").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
