"""Null checks on the records: conditions for any comparison of CAR-FT with fine-tuning."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Literal

import numpy as np

from carft.config.cell import Cell, stable_hash
from reports.evidence.caveats import has_one_template
from reports.evidence.evidence import CAR_FT, Evidence

Status = Literal["passed", "failed", "not checkable"]
ROUNDING = 1e-5  # nats; a divergence of zero in float32 is at most this
#: the check of FT against itself
SAME = "car_ft with kl_weight 0 is ft, bit for bit"
MOVED = 1e-4  # nats; the divergence exceeds this after a few steps of training
#: check of the divergence over training, which is logged before each update -> whether it is of tasks with one
#: template, on which it is constant; what must hold; what cells do of which it holds, and the others
TRAINING: Mapping[str, tuple[bool, Callable[[np.ndarray], bool], str, str]] = {
    "the KL is 0 at the first step": (
        *(False, lambda kl: abs(kl[0]) <= ROUNDING),
        *("start at a divergence of 0", "start above 0"),
    ),
    "the KL is above 0 later": (
        *(False, lambda kl: bool(np.isfinite(kl).all()) and kl[1:].max() > MOVED),
        *("move away from 0", "stay at 0 or are no numbers"),
    ),
    "one template gives a KL of 0": (
        *(True, lambda kl: bool((np.abs(kl) <= ROUNDING).all())),
        *("have a divergence of 0: car_ft is plain fine-tuning there", "have a divergence above 0"),
    ),
}


@dataclass(frozen=True)
class NullCheck:
    """The result of a check."""

    name: str
    status: Status
    words: str
    """The reason for the status."""
    cells: tuple[str, ...] = ()
    """The cells it rests on; of a failed check the cells that fail."""


def null_checks(evidence: Evidence) -> list[NullCheck]:
    """Every check, in order."""
    return [_weight_zero_is_ft(evidence), *(_over_training(evidence, name, *what) for name, what in TRAINING.items())]


def _decided(name: str, cells: Sequence[str], wrong: Sequence[str], passed: str, failed: str) -> NullCheck:
    """A check that some cells fail, or none."""
    return NullCheck(name, "failed", failed, tuple(wrong)) if wrong else NullCheck(name, "passed", passed, tuple(cells))


def _weight_zero_is_ft(evidence: Evidence) -> NullCheck:
    """car_ft with kl_weight 0 predicts what ft predicts, bit for bit, on every set that both were evaluated on."""
    twins = {_key(r.cell): cell for cell, r in evidence.records.items() if r.cell.method == "ft"}
    pairs = [
        (cell, twins[_key(r.cell)])
        for cell, r in evidence.records.items()
        if r.cell.method == "car_ft" and r.cell.hyperparameters["kl_weight"] == 0 and _key(r.cell) in twins
    ]
    if not pairs:
        words = "No car_ft cell with kl_weight 0 has an ft cell of the same learning rate and seed."
        return NullCheck(SAME, "not checkable", words)
    apart = [pair for pair in pairs if not _have_same_predictions(evidence, *pair)]
    passed, failed = f"{len(pairs)} pairs agree in every bit.", f"{len(apart)} of {len(pairs)} pairs differ."
    if not all(evidence.store.has_logits(cell, "val") for cell in chain(*pairs)):
        passed = f"{len(pairs)} pairs agree in every class, context and digit of their metrics."
    return _decided(SAME, list(chain(*pairs)), list(chain(*apart)), passed, failed)


def _have_same_predictions(evidence: Evidence, first: str, second: str) -> bool:
    """Whether two cells agree bit for bit, in metrics too: tables of a compact archive have no logits, losses do."""
    if evidence.records[first].metrics != evidence.records[second].metrics:
        return False
    for name in ("val", *(evidence.archive.evaluated(first) & evidence.archive.evaluated(second))):
        ours, theirs = (evidence.store.prediction_table(cell, name) for cell in (first, second))
        shared = [column for column in ours.column_names if column in theirs.column_names]
        if not ours.select(shared).equals(theirs.select(shared)):
            return False
    return True


def _key(cell: Cell) -> str:
    spec = cell.record_form()
    spec["hyperparameters"].pop("kl_weight", None)
    return stable_hash({k: v for k, v in spec.items() if k != "method"})


def _over_training(
    evidence: Evidence, name: str, of_one: bool, holds: Callable[[np.ndarray], bool], passed: str, failed: str
) -> NullCheck:
    """A property of the divergence over the steps of confirm cells, on tasks with one template or with more.

    A cell without a divergence, or with a shorter one than another of its study, fails the check too.
    """
    studies: dict[str, dict[str, np.ndarray]] = {}
    for _, study, cell in evidence.confirm_cells(CAR_FT.method):
        spec, history = evidence.records[cell].cell, evidence.archive.history(cell)
        if has_one_template(evidence, spec) == of_one and spec.hyperparameters["kl_weight"] > 0:
            studies.setdefault(study.id, {})[cell] = history.get("train/kl", np.zeros(0))
    curves = {cell: kl for study in studies.values() for cell, kl in study.items() if len(kl) > 1}
    if not curves:
        tasks = "with one template" if of_one else "with several templates"
        words = f"No confirm cell of car_ft on a task {tasks} with a training history of more than one step."
        return NullCheck(name, "not checkable", words)
    wrong = [cell for cell, kl in curves.items() if not holds(kl)]
    words = f"{len(wrong)} of {len(curves)} cells {failed}."
    if not wrong:
        longest = {cell: max(map(len, study.values())) for study in studies.values() for cell in study}
        wrong = [c for study in studies.values() for c, kl in study.items() if len(kl) < max(1, longest[c])]
        words = f"The training history of {len(wrong)} cells is missing or cut short."
    return _decided(name, list(curves), wrong, f"All {len(curves)} confirm cells {passed}.", words)


def failures(checks: Sequence[NullCheck]) -> list[NullCheck]:
    """The failed checks. With any of them no verdict on CAR-FT is valid."""
    return [check for check in checks if check.status == "failed"]
