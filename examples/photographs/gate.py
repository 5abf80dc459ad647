"""``python examples/photographs/gate.py ROOT STATE``: measure the criteria of ``gate.yaml`` for a candidate.

STATE is the folder of ``pretrain.py``, with the candidate's weights. Zero-shot, FT, WiSE-FT and L2-SP are measured, on
validation images alone; no method with a context term is run. Each finished run lies in STATE, so an interrupted
measurement goes on with the same command. What is measured is written to gate.json beside this file.
"""

import argparse
import json
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property
from multiprocessing import get_context
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

from carft.catalog.catalog import BUILT_IN
from carft.catalog.resolve import specify
from carft.config.cell import Training
from carft.data.folder.named import tasks_in
from carft.data.task import ImageSet
from carft.models.network import interpolate
from carft.training.context import CellContext
from carft.training.execution import Execution
from carft.training.run import compute
from reports.judge.estimate import Estimate
from reports.judge.intervals.two_way import Contributions, two_way

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
    processes: int = 1

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

    def path_of(self, task: str, method: str, lr: float, seed: int) -> Path:
        """Return the file of a run."""
        return self.folder / f"{task.rpartition('/')[2]}-{method}-{lr:g}-{seed}.npz"

    def right(self, task: str, method: str, lr: float, seed: int) -> dict[str, np.ndarray]:
        """Return run -> (N,) whether each validation image is named, of one cell and, of FT, its WiSE-FT."""
        path = self.path_of(task, method, lr, seed)
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
        """Return task -> (S, N). Runs that are missing are made first, in several processes where there are."""
        asked = [(task, method, lr, seed) for seed in seeds for task in self.tasks]
        missing = [each for each in asked if not self.path_of(*each).is_file()]
        if self.processes > 1 and missing:
            settings = (self.root, self.state, self.number)
            with ProcessPoolExecutor(self.processes, get_context("spawn"), _open, settings) as pool:
                list(pool.map(_make, missing))
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

    def of_zero_shot(self) -> dict[str, Any]:
        """Return the measured values of the criteria of zero-shot and contexts, in %."""
        right, contexts = next(iter(self.zero_shot().values()))[0], self.images.contexts.numpy()
        domains = {domain: 100 * float(right[contexts == k].mean()) for k, domain in enumerate(DOMAINS)}
        return {"zero_shot": float(np.mean(list(domains.values()))), "zero_shot_by_domain": domains, **self.contexts()}

    def made(self) -> dict[str, dict[str, float]]:
        """Return run -> its accuracy minus zero-shot's, in points, in distribution and held out.

        Of the runs that there are. A run is named task, method, learning rate, seed.
        """
        start, found = self.zero_shot(), {}
        for path in sorted(self.folder.glob("*.npz")):
            task = next(name for name in self.tasks if path.stem.startswith(name.rpartition("/")[2]))
            with np.load(path, allow_pickle=False) as stored:
                for method in set(stored.files) - {"zeroshot"}:
                    values = [
                        100 * float((stored[method].astype(float) - start[task][0]) @ self.shares(task, held_out))
                        for held_out in (False, True)
                    ]
                    name = path.stem if path.stem.find(f"-{method}-") > 0 else f"{path.stem} {method}"
                    found[name] = dict(zip(("in_distribution", "held_out"), values, strict=True))
        return found

    def criteria(self) -> dict[str, Any]:
        """Return the measured values of the criteria of fine-tuning, in points of accuracy."""
        start, found, rates = self.zero_shot(), dict[str, Any](), {}
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


_OPENED: list[Gate] = []


def _open(root: Path, state: Path, number: int) -> None:
    """Open a candidate in a process of its own."""
    torch.set_num_threads(1)
    _OPENED.append(Gate(root, state, number))


def _make(run: tuple[str, str, float, int]) -> None:
    _OPENED[0].right(*run)


def publish(number: int, settings: dict[str, Any], found: dict[str, Any]) -> None:
    """Write what was measured of a candidate into gate.json, beside the others."""
    path = HERE / "gate.json"
    held = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    held[str(number)] = {"settings": settings, "measured": _rounded(found)}
    path.write_text(json.dumps(dict(sorted(held.items())), indent=1) + "\n", encoding="utf-8")


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _rounded(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_rounded(inner) for inner in value]
    return float(f"{value:.4g}") if isinstance(value, float) else value


def main() -> None:
    """Measure one candidate."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("root", type=Path, help="the folder that holds PACS")
    parser.add_argument("state", type=Path, help="the folder of pretrain.py")
    parser.add_argument("--candidate", type=int, default=1, help="number in gate.yaml, from 1")
    parser.add_argument("--processes", type=int, default=1, help="trainings at a time, one core each")
    parser.add_argument("--zero-shot-only", action="store_true", help="measure zero-shot and contexts, and stop")
    parser.add_argument("--made-only", action="store_true", help="publish the runs that there are, and stop")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    gate = Gate(asked.root.resolve(), asked.state.resolve(), asked.candidate, asked.processes)
    found = gate.of_zero_shot()
    if asked.made_only:
        found |= {"runs": gate.made()}
    elif not asked.zero_shot_only:
        found |= {**gate.criteria(), "runs": gate.made()}
    for name, wanted in REGISTERED["criteria"].items():
        if name in found:
            print(f"{name:28} {found[name]:8.2f}   {wanted}")
    publish(asked.candidate, gate.settings, found)


if __name__ == "__main__":
    main()
