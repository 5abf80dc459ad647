"""A results folder with planted effects: real records and studies, made-up predictions."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory, mkdtemp
from typing import Any

import numpy as np

from carft import NUMERICS
from carft.catalog.resolve import interpolation, specify
from carft.config.cell import Cell, Reading, Training
from carft.config.registry import METHODS
from carft.core.files import write_json
from carft.core.metrics import Predictions, score, with_prefix
from carft.data.card import Card
from carft.protocol.identity import identity, study_id
from carft.protocol.sampling import SOBOL, trial_parameters
from carft.protocol.seeds import search_seed_of
from carft.store.record_files import Record
from carft.store.records import Store
from carft.store.study_file import StudyFile
from reports.judge.claims.claim import Verdict
from reports.judge.claims.verdicts import verdicts
from tests.support.helpers import made_up_study
from tests.support.reading import evidence_in

PROVENANCE = {
    "numerics": NUMERICS,
    "carft": "planted",
    "python": "3",
    "packages": {"torch": "0"},
    "machine": {},
    "execution": {"device": "cpu", "workers": 1, "threads": 1},
    "digests": {"attested": "yes"},
}
#: of WiSE-FT curves, the fewest that a recipe may have
ALPHAS = (0.0, 0.5, 1.0)
#: of those, what verdicts compare
HALF = (0.5,)
HYPERPARAMETERS = {
    "zeroshot": {},
    "ft": {"lr": 3e-4},
    "l2_sp": {"lr": 3e-4, "l2_weight": 0.1},
    "flyp": {"lr": 3e-4},
    "lp_ft": {"lr": 3e-4, "l2": 1e-3},
    "car_ft": {"lr": 3e-4, "kl_weight": 1.0},
}


@dataclass(frozen=True)
class Plan:
    """Accuracy and context recognition of each method; how much of it seeds and groups move, in shares of 1."""

    top1: Mapping[str, float]
    context: Mapping[str, float]
    seeds: Sequence[int] = (1, 2, 3)
    groups: int = 60
    spread: float = 0.02
    oracle: bool = False  # whether search cells are unsealed too
    shift: Mapping[str, float] = field(default_factory=dict)  # what is added to top-1 out of distribution


#: CAR-FT gains in and out of distribution, and keeps the contexts that FT loses
GOOD = Plan({"zeroshot": 0.5, "ft": 0.6, "car_ft": 0.75}, {"zeroshot": 0.9, "ft": 0.6, "car_ft": 0.9})
#: smaller gains on few images, for tests of files and pages
QUICK = Plan(
    {"zeroshot": 0.5, "ft": 0.6, "car_ft": 0.65}, {"zeroshot": 0.9, "ft": 0.6, "car_ft": 0.8}, (1, 2), 8, spread=0.1
)


def predictions(
    known: Card, name: str, top1: float, context: float, plan: Plan, rng: np.random.Generator
) -> Predictions:
    """Two images of each group. A group is easy or hard for every method alike, so that pairing matters."""
    classes, templates = len(known.classes), len(known.contexts if known.scale == "own" else known.templates)
    groups = [f"{name}-{k}" for k in range(plan.groups) for _ in range(2)]
    ease = np.random.default_rng(len(known.name)).random(plan.groups).repeat(2)
    count = len(groups)
    labels, contexts = np.arange(count) % classes, np.arange(count) % templates

    def logits(width: int, truth: np.ndarray, share: float) -> np.ndarray:
        right = ease + rng.normal(0, plan.spread, count) < share
        values = np.zeros((count, width), np.float32)
        values[np.arange(count), np.where(right, truth, (truth + 1) % width)] = 5.0
        return values

    shown = logits(classes, labels, top1), logits(templates, contexts, context)
    return Predictions([f"{g}/{i}" for i, g in enumerate(groups)], groups, labels, contexts, *shown)


def write(
    store: Store,
    cell: Cell,
    top1: float,
    context: float,
    plan: Plan,
    unseal: bool = True,
    metrics: Mapping[str, float] | None = None,
) -> None:
    """A finished cell with planted predictions on val and, unsealed, on test and suites.

    metrics: of training, beside those of validation.
    """
    rng = np.random.default_rng(int(cell.id, 16))
    card = store.catalog.card(cell.task)
    val = predictions(card, "val", top1, context, plan, rng)
    history = [{"epoch": 0.0, "train/loss": 1.0, "val/top1": top1}] if cell.method != "zeroshot" else []
    every = {**(metrics or {}), **with_prefix("val", score(val))}
    store.write(Record(cell, every, PROVENANCE, {"train": 0.0}), history, val)
    if unseal:
        for name in card.sets:
            kind = "hands" if name.endswith("hands") else "drawing"
            moved = top1 + (plan.shift.get(cell.method, 0.0) if name != "test" else 0.0)
            made = predictions(card, kind, moved, context, plan, rng)
            store.add_evaluation(cell.id, name, with_prefix(name, score(made)), made, {"by": "sweep"})


#: names the folder of what was planted in empty folders, of which the next one with the same is a copy
KEPT = "CARFT_PLANTED"
_OWN = TemporaryDirectory(prefix="carft-planted-")


def plant(store: Store, tasks: Sequence[str], plan: Plan, **options: Any) -> None:
    """Write zero-shot cells, studies and confirm cells of a plan; with ``curves``, WiSE-FT curves too, linear in alpha.

    options: those of :func:`planted`, which a test that patches a card of the icons world calls itself.
    """
    shared = all(task.startswith("icons-3/") for task in tasks) and not any(store.root.glob("*"))
    if not shared:
        planted(store, tasks, plan, **options)
        return
    asked = repr((tuple(tasks), plan, sorted(options.items())))
    kept = Path(os.environ.get(KEPT, _OWN.name))
    folder = kept / hashlib.sha256(asked.encode()).hexdigest()[:16]
    if not folder.is_dir():
        made = Path(mkdtemp(dir=kept))
        planted(Store(made), tasks, plan, **options)
        with suppress(OSError):  # another process of the tests was faster
            made.rename(folder)
    shutil.copytree(folder, store.root, dirs_exist_ok=True)


def planted(
    store: Store,
    tasks: Sequence[str],
    plan: Plan,
    epochs: int = 6,
    reading: Reading | None = None,
    curves: bool = False,
    crop: float | None = None,
    precision: str = "float32",
    trials: int = 1,
    search: int = 1,
    pretrained: str | None = None,
    alphas: Sequence[float] = ALPHAS,
) -> None:
    """Write zero-shot, studies, confirm cells and curves into a results folder, as :func:`plant` describes them.

    trials: of each search; the first one wins, the others try what the sequence gives. search: which independent search
    the studies are; one after the first has seeds of its own. pretrained: the path of a weights file. alphas: of the
    curves.
    """
    block = search_seed_of(0, search)
    for task in tasks:
        for method in plan.top1:
            recipe = {"epochs": epochs, **({} if crop is None else {"crop": crop})}
            settings: dict[str, Any] = {"training": Training(**recipe), "reading": reading, "precision": precision}
            settings |= {"pretrained": pretrained, "catalog": store.catalog}
            base = specify(task, method, HYPERPARAMETERS[method], block if method != "zeroshot" else 0, **settings)
            if method == "zeroshot":
                write(store, base, plan.top1[method], plan.context[method], plan)
                continue
            begun = begun_study(base, recipe, differing(reading), search)
            seeds = [block + seed for seed in plan.seeds]
            what = {"study": begun.id, "task": task, "method": method, "search": search}
            store.note("planned", studies=[{**what, "trials": trials, "seeds": seeds, "oracle": plan.oracle}])
            write(store, base, plan.top1[method], plan.context[method], plan, unseal=plan.oracle)
            tried = [trial_parameters(block, k, METHODS[method].space) for k in range(1, trials)]
            searched = [base, *(specify(task, method, parameters, block, **settings) for parameters in tried)]
            for cell in searched[1:]:
                write(store, cell, plan.top1[method] - 0.2, plan.context[method], plan, unseal=False)
            confirm = [specify(task, method, HYPERPARAMETERS[method], block + seed, **settings) for seed in plan.seeds]
            lines = [
                {"trial": k, "parameters": dict(cell.hyperparameters), "cell": cell.id, "status": "done"}
                for k, cell in enumerate(searched)
            ]
            ended = {"oracle": plan.oracle, "trials": lines, "winner": base.id}
            store.write_study(begun.id, changed(begun, **ended, confirm=[cell.id for cell in confirm]))
            for cell in confirm:
                write(store, cell, plan.top1[method], plan.context[method], plan)
                for alpha in alphas if curves else ():
                    mixed = {m: (1 - alpha) * v["zeroshot"] + alpha * v[method] for m, v in _both(plan).items()}
                    write(store, interpolation(cell, alpha), mixed["top1"], mixed["context"], plan)


def begun_study(base: Cell, recipe: Mapping[str, Any], reading: Mapping[str, Any], search: int = 1) -> StudyFile:
    """A study with the method's own ranges, and its id, before its first trial.

    base: a search cell.
    """
    content: dict[str, Any] = {
        "task": base.task,
        "method": base.method,
        "data_version": base.data_version,
        "model": base.model,
        "pretrained": base.pretrained,
        "space": {n: [r.low, r.high, r.first_guess] for n, r in METHODS[base.method].space.items()},
        "sampler": SOBOL,
        "search_seed": base.seed,
        "training": dict(recipe),
        "reading": dict(reading),
        **({} if base.precision == "float32" else {"precision": base.precision}),
        **({} if search == 1 else {"search": search}),
    }
    return made_up_study(**content, id=study_id(identity(content)))


def differing(reading: Reading | None) -> dict[str, Any]:
    """The factors of a reading that differ from the default."""
    plain = asdict(Reading())
    return {k: v for k, v in asdict(reading or Reading()).items() if v != plain[k]}


def write_hits(store: Store, cell: Cell, hits: Mapping[str, Sequence[int]], groups: Sequence[str]) -> None:
    """A finished cell whose hits on each sealed set are given: one image a group, class 0 right, contexts alike."""
    width = len(store.catalog.card(cell.task).classes)
    for name, right in {"val": hits["test"], **hits}.items():
        logits = np.zeros((len(right), width), np.float32)
        logits[np.arange(len(right)), 1 - np.asarray(right)] = 5.0
        truth = np.zeros(len(right), np.int64)
        made = Predictions(list(groups), list(groups), truth, truth, logits, logits[:, :2])
        if name == "val":
            store.write(Record(cell, with_prefix("val", score(made)), PROVENANCE, {"train": 0.0}), [], made)
        else:
            store.add_evaluation(cell.id, name, with_prefix(name, score(made)), made, {})


def forget_journal(store: Store) -> None:
    """Make the folder one of an earlier version, which had no journal."""
    shutil.rmtree(store.root / "journal", ignore_errors=True)
    for path in store.root.glob("cells/*/record.json"):
        write_json(path, {**json.loads(path.read_text(encoding="utf-8")), "journal": False})


def change_study(store: Store, task: str, method: str, **changes: Any) -> None:
    """Write the study of a task and method again with other content."""
    study = next(s for s in store.studies() if (s.task, s.method) == (task, method))
    store.write_study(study.id, changed(study, **changes))


def changed(study: StudyFile, **changes: Any) -> StudyFile:
    """A study with other content."""
    return StudyFile.model_validate({**study.content(), **changes})


def by_claim(store: Store) -> dict[str, Verdict]:
    """The verdicts on a folder by claim; of several scopes that of the last."""
    return {verdict.claim: verdict for verdict in verdicts(evidence_in(store))}


def _both(plan: Plan) -> dict[str, Mapping[str, float]]:
    return {"top1": {"zeroshot": 0.0, **plan.top1}, "context": {"zeroshot": 0.0, **plan.context}}
