"""Null checks on the records: conditions for any comparison of CAR-FT with fine-tuning."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from carft.config.cell import Cell, stable_hash
from reports.evidence.caveats import has_one_template
from reports.evidence.evidence import CAR_FT, Evidence

NullCheckStatus = Literal["passed", "failed", "not checkable"]
ROUNDING = 1e-5  # nats; a divergence of zero in float32 is at most this
MOVED = 1e-4  # nats; the divergence exceeds this after a few steps of training
WEIGHT_0_IS_FT = "car_ft with kl_weight 0 is ft, bit for bit"


@dataclass(frozen=True)
class NullCheck:
    """The result of a check."""

    name: str
    """What must hold: its name in the table of null checks."""
    status: NullCheckStatus
    words: str
    """Why it passed, failed or cannot be made, in a sentence."""
    cells: tuple[str, ...] = ()
    """The cells it rests on; of a failed check the cells that fail."""


@dataclass(frozen=True)
class Divergence:
    """What must hold of the divergence over the steps of training, which is logged before each update."""

    name: str
    holds: Callable[[np.ndarray], bool]
    passed: str
    """What cells do of which it holds."""
    failed: str
    """What the others do."""
    with_one_template: bool = False
    """Whether it is about the tasks with one template, or about those with several."""


OVER_TRAINING = (
    Divergence(
        "the KL is 0 at the first step",
        lambda divergence: abs(divergence[0]) <= ROUNDING,
        "start at a divergence of 0",
        "start above 0",
    ),
    Divergence(
        "the KL is above 0 later",
        lambda divergence: bool(np.isfinite(divergence).all()) and divergence[1:].max() > MOVED,
        "move away from 0",
        "stay at 0 or are no numbers",
    ),
    Divergence(
        "one template gives a KL of 0",
        lambda divergence: bool((np.abs(divergence) <= ROUNDING).all()),
        "have a divergence of 0: car_ft is plain fine-tuning there",
        "have a divergence above 0",
        with_one_template=True,
    ),
)


def null_checks(evidence: Evidence) -> list[NullCheck]:
    """Every check, in order."""
    over_training = [_over_training(evidence, what) for what in OVER_TRAINING]
    return [_weight_0_is_ft(evidence), *over_training]


def failures(checks: Sequence[NullCheck]) -> list[NullCheck]:
    """The failed checks. With any of them no verdict on CAR-FT is valid."""
    return [check for check in checks if check.status == "failed"]


def _weight_0_is_ft(evidence: Evidence) -> NullCheck:
    """car_ft with kl_weight 0 predicts what ft predicts, bit for bit, on every set that both were evaluated on."""
    pairs, apart = _twins(evidence), []
    if not pairs:
        words = "No car_ft cell with kl_weight 0 has an ft cell of the same learning rate and seed."
        return NullCheck(WEIGHT_0_IS_FT, "not checkable", words)
    for first, second in pairs:
        if not _have_same_predictions(evidence, first, second):
            apart.append((first, second))
    if apart:
        return NullCheck(WEIGHT_0_IS_FT, "failed", f"{len(apart)} of {len(pairs)} pairs differ.", _cells_of(apart))
    cells, agree = _cells_of(pairs), "every class, context and digit of their metrics"
    if all(evidence.store.has_logits(cell, "val") for cell in cells):
        agree = "every bit"
    return NullCheck(WEIGHT_0_IS_FT, "passed", f"{len(pairs)} pairs agree in {agree}.", cells)


def _twins(evidence: Evidence) -> list[tuple[str, str]]:
    """The pairs of a car_ft cell with kl_weight 0 and the ft cell that is equal otherwise."""
    of_ft: dict[str, str] = {}
    for name, record in evidence.records.items():
        if record.cell.method == "ft":
            of_ft[_id_without_method(record.cell)] = name
    pairs = []
    for name, record in evidence.records.items():
        if record.cell.method == "car_ft" and record.cell.hyperparameters["kl_weight"] == 0:
            twin = of_ft.get(_id_without_method(record.cell))
            if twin is not None:
                pairs.append((name, twin))
    return pairs


def _cells_of(pairs: Sequence[tuple[str, str]]) -> tuple[str, ...]:
    """The cells of pairs, in order."""
    cells: list[str] = []
    for pair in pairs:
        cells += pair
    return tuple(cells)


def _have_same_predictions(evidence: Evidence, first: str, second: str) -> bool:
    """Whether two cells agree bit for bit, in metrics too: tables of a compact archive have no logits, losses do."""
    if evidence.records[first].metrics != evidence.records[second].metrics:
        return False
    for name in ("val", *(evidence.archive.evaluated(first) & evidence.archive.evaluated(second))):
        ours = evidence.store.prediction_table(first, name)
        theirs = evidence.store.prediction_table(second, name)
        shared = []
        for column in ours.column_names:
            if column in theirs.column_names:
                shared.append(column)
        if not ours.select(shared).equals(theirs.select(shared)):
            return False
    return True


def _id_without_method(cell: Cell) -> str:
    """What a cell of car_ft and one of ft have in common: all but method and KL weight."""
    spec = cell.record_form()
    spec["hyperparameters"].pop("kl_weight", None)
    del spec["method"]
    return stable_hash(spec)


def _over_training(evidence: Evidence, what: Divergence) -> NullCheck:
    """A property of the divergence over the steps of confirm cells.

    A cell without a divergence, or with a shorter one than another of its study, fails the check too.
    """
    compared, wrong, short = [], [], []
    for histories in _divergences(evidence, what.with_one_template):
        longest = max(map(len, histories.values()))
        for cell, divergence in histories.items():
            if len(divergence) > 1:
                compared.append(cell)
                if not what.holds(divergence):
                    wrong.append(cell)
            if len(divergence) < max(1, longest):
                short.append(cell)
    if not compared:
        tasks = "with one template" if what.with_one_template else "with several templates"
        words = f"No confirm cell of car_ft on a task {tasks} with a training history of more than one step."
        return NullCheck(what.name, "not checkable", words)
    if wrong:
        return NullCheck(what.name, "failed", f"{len(wrong)} of {len(compared)} cells {what.failed}.", tuple(wrong))
    if short:
        words = f"The training history of {len(short)} cells is missing or cut short."
        return NullCheck(what.name, "failed", words, tuple(short))
    return NullCheck(what.name, "passed", f"All {len(compared)} confirm cells {what.passed}.", tuple(compared))


def _divergences(evidence: Evidence, with_one_template: bool) -> list[dict[str, np.ndarray]]:
    """Of each study of car_ft, confirm cell -> its divergence at each step, empty where there is none."""
    studies: dict[str, dict[str, np.ndarray]] = {}
    for view in evidence.views():
        for study, cell in view.confirm_cells():
            spec = view.records[cell].cell
            if study.method != CAR_FT.method or has_one_template(view, spec) != with_one_template:
                continue
            if spec.hyperparameters["kl_weight"] > 0:
                history = view.archive.history(cell)
                studies.setdefault(study.id, {})[cell] = history.get("train/kl", np.zeros(0))
    return list(studies.values())
