"""Null checks on the records: conditions for any comparison of CAR-FT with fine-tuning."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from carft.config.cell import Cell, stable_hash
from reports.judge.caveats import has_one_template
from reports.judge.entry import CAR_FT
from reports.judge.evidence import Evidence

NullCheckStatus = Literal["passed", "failed", "not checkable"]
ROUNDING = 1e-5  # nats; a divergence of zero in float32 is at most this
MOVED = 1e-4  # nats; the divergence exceeds this after a few steps of training
WEIGHT_0_IS_FT = "car_ft with kl_weight 0 is ft, bit for bit"
DIVERGENCE = "the KL is 0 at the first step and above 0 later"


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


def null_checks(evidence: Evidence) -> list[NullCheck]:
    """Every check, in order."""
    return [_weight_0_is_ft(evidence), _divergence_grows(evidence)]


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
    return NullCheck(WEIGHT_0_IS_FT, "passed", f"{len(pairs)} pairs agree.", _cells_of(pairs))


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
    for name in ("val", *(evidence.folder.evaluated(first) & evidence.folder.evaluated(second))):
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


def _divergence_grows(evidence: Evidence) -> NullCheck:
    """The divergence, which is logged before each update, over the steps of confirm cells with several templates."""
    compared, wrong = [], []
    for view in evidence.views():
        for study, name in view.confirm_cells():
            cell = view.records[name].cell
            if study.method != CAR_FT.method or not cell.hyperparameters["kl_weight"] or has_one_template(view, cell):
                continue
            divergence = view.folder.files.history(name).get("train/kl", np.zeros(0))
            if len(divergence) > 1:
                compared.append(name)
                grows = bool(np.isfinite(divergence).all()) and divergence[1:].max() > MOVED
                if abs(divergence[0]) > ROUNDING or not grows:
                    wrong.append(name)
    if not compared:
        words = "No confirm cell of car_ft with several templates has a training history of more than one step."
        return NullCheck(DIVERGENCE, "not checkable", words)
    if wrong:
        words = f"{len(wrong)} of {len(compared)} cells start above 0, stay at 0 or are no numbers."
        return NullCheck(DIVERGENCE, "failed", words, tuple(wrong))
    return NullCheck(DIVERGENCE, "passed", f"All {len(compared)} confirm cells do so.", tuple(compared))
