"""``python -m benchmarks.icons_gate CANDIDATE WEIGHTS``: measure the registered criteria of world icons-3.

CANDIDATE is the number of a candidate in ``icons_3_gate.yaml``, from 1; WEIGHTS a folder with the weights that its
pretraining gave. Zero-shot, plain fine-tuning and established remedies are run, on validation drawings only; no method
with a context term. Each finished run is kept in the folder, so an interrupted measurement goes on where it stopped.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml

from carft.catalog.catalog import BUILT_IN
from carft.catalog.resolve import specify
from carft.config.cell import Training
from carft.data.icons.drawings import drawings_of
from carft.data.icons.family import cards
from carft.data.icons.rendering import renderings_of, spread
from carft.data.icons.tasks import image_set
from carft.data.icons.world import HANDS, ICONS_3, World, nine_tasks
from carft.data.task import ImageSet, Task
from carft.models.clip import load_pretrained
from carft.models.network import Network, Prompts, interpolate
from carft.posthoc.soup import uniform_soup
from carft.training.context import CellContext
from carft.training.execution import Execution
from carft.training.run import compute
from reports.stats.intervals import LEVEL, Contributions, Estimate, pooled, two_way

REGISTRATION: dict[str, Any] = yaml.safe_load(Path(__file__).with_name("icons_3_gate.yaml").read_text(encoding="utf-8"))
SEEDS: list[int] = REGISTRATION["seeds"]
#: a remedy's own hyperparameters
REMEDIES: Mapping[str, Mapping[str, float]] = REGISTRATION["remedies"]
#: bins of equal width in [0, 1] of the calibration error
BINS = 15
#: sets of validation drawings: in the contexts of training, and in those of each suite
Shares = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Candidate:
    """A candidate: the world, its weights and the settings of fine-tuning."""

    world: World
    model: str
    weights: Path
    settings: Mapping[str, Any]

    @cached_property
    def suites(self) -> list[str]:
        """The suites of new contexts; ``hands`` has drawings of its own, which are held out."""
        return [name for name in self.world.suites if name != HANDS]

    def runs(self, task: str, method: str, lr: float, seed: int) -> dict[str, Shares]:
        """Return run -> set -> (G,) share of each drawing's images that are right, of one cell and its WiSE-FT."""
        stem = f"{task.rpartition('/')[2]}-{method}-{lr:g}-{seed}"
        path = self.weights.parent / f"gate-{self.settings['number']}" / f"{stem}.npz"
        if not path.is_file():
            path.parent.mkdir(exist_ok=True)
            made = Opened.of(self, task).run(method, lr, seed)
            flat = {f"{run}:{name}": shares for run, sets in made.items() for name, shares in sets.items()}
            np.savez(path.with_suffix(".part.npz"), **flat)
            path.with_suffix(".part.npz").replace(path)
        runs: dict[str, dict[str, np.ndarray]] = {}
        with np.load(path, allow_pickle=False) as stored:
            for name in stored.files:
                run, _, images = name.partition(":")
                runs.setdefault(run, {})[images] = stored[name]
        return runs


@dataclass(frozen=True)
class Opened:
    """A task of a candidate, opened: what its cells are computed with, and the sets they are measured on."""

    candidate: Candidate
    context: CellContext
    sets: Mapping[str, ImageSet]

    @staticmethod
    def of(candidate: Candidate, task: str) -> Opened:
        key = (str(candidate.weights), candidate.settings["number"], task)
        if key not in _OPENED:
            _OPENED.clear()
            _OPENED[key] = Opened._open(candidate, task)
        return _OPENED[key]

    @staticmethod
    def _open(candidate: Candidate, task: str) -> Opened:
        world, card = candidate.world, cards(candidate.world)[task]
        train, val = (image_set(world, task, renderings_of(world, task, part)) for part in ("train", "val"))
        sets, drawings = {"val": val}, drawings_of(world, task, "val")
        for suite in candidate.suites:
            sets[suite] = image_set(world, task, spread(drawings, world.suites[suite], REGISTRATION["renderings"]))
        pretrained = load_pretrained(candidate.model, str(candidate.weights))
        execution = Execution()
        execution.prepare()
        opened = Task(task, train, sets["val"], {})
        context = CellContext(opened, pretrained, Prompts.of(pretrained, card), card, execution, catalog=BUILT_IN)
        return Opened(candidate, context, sets)

    def run(self, method: str, lr: float, seed: int) -> dict[str, Shares]:
        """Train one cell. FT is measured at WiSE-FT's alpha of 0.5 too, and with ``soup`` as the soup of all rates."""
        training = Training(epochs=self.candidate.settings["epochs"])
        own = {} if method == "zeroshot" else {"lr": lr, **REMEDIES.get(method, {})}
        kind = "ft" if method == "soup" else method

        def network(rate: float) -> Network:
            cell = specify("icons/all", kind, own | ({"lr": rate} if own else {}), seed, training)
            return compute(cell, self.context).network

        if method == "soup":
            tuned = {f"{rate:g}": network(rate) for rate in REGISTRATION["lrs"] if rate <= lr}
            mixed = next(iter(tuned.values()))
            mixed.load_state_dict(uniform_soup(list(tuned), {k: n.state_dict() for k, n in tuned.items()}.__getitem__))
            return {method: self.measured(mixed)}
        tuned_network = network(lr)
        found = {method: self.measured(tuned_network)}
        if method == "ft":
            start = self.context.network().state_dict()
            tuned_network.load_state_dict(interpolate(start, tuned_network.state_dict(), 0.5))
            found["wise_ft"] = self.measured(tuned_network)
        return found

    def measured(self, network: Network) -> Shares:
        cell = specify("icons/all", "zeroshot", {})
        found = {}
        for name, images in self.sets.items():
            predictions = self.context.predict(cell, network, images)
            right = predictions.predicted == predictions.labels
            drawings = len(dict.fromkeys(images.groups))
            found[name] = right.reshape(drawings, -1).mean(1)  # a drawing's images are neighbours
        return found


_OPENED: dict[tuple[str, int, str], Opened] = {}


def main() -> None:
    """Measure one candidate, print the criteria, write them as JSON beside the weights."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.icons_gate", description=__doc__)
    parser.add_argument("candidate", type=int)
    parser.add_argument("weights", type=Path)
    parser.add_argument("--model", default="icons-resnet")
    parser.add_argument("--contexts-only", action="store_true", help="measure zero-shot contexts and stop")
    asked = parser.parse_args()
    settings = {**REGISTRATION["candidates"][asked.candidate - 1], "number": asked.candidate}
    candidate = Candidate(world_of(settings), asked.model, asked.weights / f"{asked.model}.safetensors", settings)
    found = contexts(candidate)
    if not asked.contexts_only:
        found |= criteria(candidate)
    print(table(found))
    text = json.dumps({"candidate": settings, "model": asked.model, "criteria": found}, indent=1)
    (asked.weights / f"gate-{asked.candidate}.json").write_text(text + "\n")


def world_of(settings: Mapping[str, Any]) -> World:
    """Return the world of a candidate."""
    shown = {} if "without" in settings else ICONS_3.pretraining_only
    return replace(
        ICONS_3,
        blend=settings["blend"],
        apart=settings.get("apart", False),
        prompts={**ICONS_3.prompts, **shown},
        suites={**ICONS_3.suites, "viewpoint": (*ICONS_3.suites["viewpoint"], *shown)},
        renderings={**ICONS_3.renderings, "train": settings["renderings"]},
    )


@torch.inference_mode()
def contexts(candidate: Candidate) -> dict[str, float]:
    """Return zero-shot recognition of contexts on the validation drawings, in %, and how calibrated it is."""
    world, right, confidence, loss = candidate.world, [], [], []
    shown: list[np.ndarray] = []
    others = tuple(name for name in world.prompts if name not in world.id_contexts)
    count = REGISTRATION["context_renderings"]
    for task in nine_tasks(world):
        card = cards(world)[task]
        pretrained = load_pretrained(candidate.model, str(candidate.weights))
        heads = Prompts.of(pretrained, card)
        drawings, counts = drawings_of(world, task, "val"), ((world.id_contexts, 1), (others, count - 1))
        sets = [image_set(world, task, spread(drawings, names, number)) for names, number in counts]
        pixels, numbers = torch.cat([s.images[:] for s in sets]), torch.cat([s.contexts for s in sets])
        for part, labels in zip(pixels.split(256), numbers.split(256), strict=True):
            features = torch.nn.functional.normalize(pretrained.clip.encode_image(pretrained.normalise(part)), dim=-1)
            p = (pretrained.scale * features @ heads.contexts.T).double().softmax(-1)
            right.append((p.argmax(1) == labels).numpy())
            confidence.append(p.amax(1).numpy())
            loss.append(-p[torch.arange(len(labels)), labels].log().numpy())
            shown.append(labels.numpy())
    hits, sure, index = np.concatenate(right), np.concatenate(confidence), np.concatenate(shown)
    each = {name: 100 * float(hits[index == k].mean()) for k, name in enumerate(world.prompts)}
    print("  ".join(f"{name} {share:.0f}" for name, share in sorted(each.items(), key=lambda item: item[1])))
    return {
        "context_mean": float(np.mean(list(each.values()))),
        "context_weakest": min(each.values()),
        "context_calibration_error": 100 * calibration_error(sure, hits),
        "context_confidence": 100 * float(sure.mean()),
        "context_log_loss_nats": float(np.concatenate(loss).mean()),
    }


def calibration_error(confidence: np.ndarray, hits: np.ndarray) -> float:
    """Expected calibration error in [0, 1] over ``BINS`` bins of equal width. confidence, hits: (N,)."""
    index = np.minimum((confidence * BINS).astype(int), BINS - 1)
    return float(np.abs(np.bincount(index, hits - confidence)).sum() / len(hits))


def criteria(candidate: Candidate) -> dict[str, float]:
    """Return the measured value of each criterion, in points of accuracy or %."""
    names = nine_tasks(candidate.world)

    def shares(method: str, lr: float, seeds: list[int], run: str = "") -> list[dict[str, np.ndarray]]:
        """Return task by task, set -> (S, G)."""
        found = []
        for task in names:
            runs = [candidate.runs(task, method, lr, seed)[run or method] for seed in seeds]
            found.append({name: np.stack([own[name] for own in runs]) for name in runs[0]})
        return found

    start = shares("zeroshot", 0.0, [0])
    by_lr = {lr: shares("ft", lr, SEEDS[:1]) for lr in REGISTRATION["lrs"]}
    for lr, tuned in by_lr.items():
        changes = (difference(tuned, start, sets) for sets in (["val"], candidate.suites))
        print(f"FT {lr:g}: " + ", ".join(f"{100 * change.effect:+.2f}" for change in changes))
    best = max(by_lr, key=lambda lr: np.mean([task["val"].mean() for task in by_lr[lr]]))
    tuned = shares("ft", best, SEEDS)
    gain, lost = (difference(tuned, start, sets) for sets in (["val"], candidate.suites))
    found = {
        "zero_shot": np.mean([task["val"].mean() for task in start]),
        "zero_shot_ood": np.mean([task[suite].mean() for task in start for suite in candidate.suites]),
        "gain": gain.effect,
        "gain_lower_bound": gain.interval()[0],
        "forgetting": lost.effect,
        "forgetting_upper_bound": lost.interval()[1],
    }
    remedies = {"wise_ft": shares("ft", best, SEEDS, "wise_ft")}
    remedies |= {method: shares(method, best, SEEDS) for method in REMEDIES}
    remedies["soup"] = shares("soup", best, SEEDS[:1])
    for method, own in remedies.items():
        base = tuned if method != "soup" else by_lr[best]
        level = LEVEL if method == "wise_ft" else 1 - (1 - LEVEL) / len(REMEDIES)
        back = difference(own, base, candidate.suites)
        found |= {
            f"{method}_id": difference(own, base, ["val"]).effect,
            f"{method}_ood": back.effect,
            f"{method}_ood_lower_bound": back.effect - back.quantile((1 + level) / 2) * back.se,
        }
    found["remedy_lower_bound"] = max(found[f"{method}_ood_lower_bound"] for method in REMEDIES)
    held_out, here = (sum(len(drawings_of(candidate.world, task, part)) for task in names) for part in ("test", "val"))
    factors = {"seeds": REGISTRATION["full_runs"] / len(SEEDS), "groups": held_out / here}
    for name, sets in {"visible_id": ["val"], "visible_ood": candidate.suites}.items():
        found[name] = difference(remedies["l2_sp"], tuned, sets).scaled(**factors).smallest_visible()
    return {"lr": best, **{name: 100 * float(value) for name, value in found.items()}}


def difference(first: list[dict[str, np.ndarray]], second: list[dict[str, np.ndarray]], sets: list[str]) -> Estimate:
    """Return first - second as the mean of tasks, in each the mean of these sets; a drawing is one group of all."""
    estimates = []
    for one, other in zip(first, second, strict=True):
        values = np.mean([one[name] - other[name] for name in sets], axis=0)
        seeds, count = values.shape
        same = np.zeros(count, np.int64)  # most classes have too few validation drawings for strata of their own
        many = np.full(count, np.inf)  # no lower bound of the variance
        made = Contributions(values / count, same, np.full(count, 1 / count), many, np.ones(seeds))
        estimates.append(two_way(made))
    return pooled(estimates)


def table(found: Mapping[str, float]) -> str:
    """Return measured values beside what was registered, as lines of text."""
    wanted = REGISTRATION["criteria"]
    return "\n".join(f"{name:30} {value:9.3f}   {wanted.get(name, '')}" for name, value in found.items())


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
