"""Null checks on the records: conditions for any comparison of CAR-FT with fine-tuning."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass
from itertools import chain
from typing import Literal

import numpy as np

from carft.config.cell import Cell, stable_hash
from reports.analysis.pairing import same_predictions
from reports.evidence.caveats import has_one_template
from reports.evidence.evidence import CAR_FT, Evidence

Status = Literal["passed", "failed", "not checkable"]
ROUNDING = 1e-5  # nats; a divergence of zero in float32 is at most this
NO_LOGITS = "The folder holds no logits: it comes from a compact archive."
MOVED = 1e-4  # nats; the divergence exceeds this after a few steps of training


@dataclass(frozen=True)
class NullCheck:
    """The result of a check."""

    name: str
    status: Status
    words: str
    """The reason for the status."""
    cells: tuple[str, ...] = ()
    """The cells it rests on; of a failed check the cells that fail."""


#: status, the reason for it, and cells; as of :class:`NullCheck`
Result = tuple[Status, str, Sequence[str]]


def null_checks(evidence: Evidence) -> list[NullCheck]:
    """Every check, in order."""
    results = ((name, check(evidence)) for name, check in CHECKS.items())
    return [NullCheck(name, status, words, tuple(cells)) for name, (status, words, cells) in results]


def _decide(cells: Sequence[str], wrong: Sequence[str], passed: str, failed: str) -> Result:
    """A check that some cells fail, or none."""
    return ("failed", failed, wrong) if wrong else ("passed", passed, cells)


def weight_zero_is_ft(evidence: Evidence) -> Result:
    """car_ft with kl_weight 0 predicts what ft predicts, bit for bit, on every set that both were evaluated on."""
    twins = {_key(r.cell): cell for cell, r in evidence.records.items() if r.cell.method == "ft"}
    pairs = [
        (cell, twins[_key(r.cell)])
        for cell, r in evidence.records.items()
        if r.cell.method == "car_ft" and r.cell.hyperparameters["kl_weight"] == 0 and _key(r.cell) in twins
    ]
    if not pairs:
        return "not checkable", "No car_ft cell with kl_weight 0 has an ft cell of the same learning rate and seed.", ()
    if not all(evidence.store.has_logits(cell, "val") for cell in chain(*pairs)):
        return "not checkable", NO_LOGITS, ()
    apart = [pair for pair in pairs if not _same_predictions(evidence, *pair)]
    words = f"{len(pairs)} pairs agree in every bit.", f"{len(apart)} of {len(pairs)} pairs differ."
    return _decide(list(chain(*pairs)), list(chain(*apart)), *words)


def _key(cell: Cell) -> str:
    spec = cell.record_form()
    spec["hyperparameters"].pop("kl_weight", None)
    return stable_hash({k: v for k, v in spec.items() if k != "method"})


def _same_predictions(evidence: Evidence, first: str, second: str) -> bool:
    names = ["val", *sorted(evidence.archive.evaluated(first) & evidence.archive.evaluated(second))]
    read = evidence.store.prediction_table
    return all(same_predictions(read(first, name), read(second, name)) for name in names)


def starts_at_zero(evidence: Evidence) -> Result:
    """The divergence of the first step, which is logged before any update, is 0 up to rounding."""
    return _on_histories(evidence, lambda kl: abs(kl[0]) <= ROUNDING, "start at a divergence of 0", "start above 0")


def moves_away(evidence: Evidence) -> Result:
    """Later steps have a divergence above 0. A term that stays 0 has no effect."""

    def moves(kl: np.ndarray) -> bool:
        return bool(np.isfinite(kl).all()) and kl[1:].max() > MOVED

    return _on_histories(evidence, moves, "move away from 0", "stay at 0 or are no numbers")


def _on_histories(evidence: Evidence, holds: Callable[[np.ndarray], bool], good: str, bad: str) -> Result:
    """A property of the divergence over training, for confirm cells of tasks with more than one template."""
    histories = {cell: kl for cell, kl in _divergences(evidence, one_template=False).items() if len(kl) > 1}
    if not histories:
        return "not checkable", "No confirm cell of car_ft with a training history of more than one step.", ()
    wrong = [cell for cell, kl in histories.items() if not holds(kl)]
    lost = [] if wrong else _without_history(evidence, set(histories))
    failed = (
        f"The training history of {len(lost)} cells is missing or cut short."
        if lost
        else f"{len(wrong)} of {len(histories)} cells {bad}."
    )
    return _decide(list(histories), wrong or lost, f"All {len(histories)} confirm cells {good}.", failed)


def _without_history(evidence: Evidence, checked: Set[str]) -> list[str]:
    """Confirm cells without a divergence, where others have one; or of fewer steps than a check needs, where others of
    their study have as many. checked: the cells that are checked."""
    cells = []
    for _, study, cell, history in evidence.confirm_histories(CAR_FT.method):
        spec = evidence.records[cell].cell
        is_short = cell not in checked and ("train/kl" not in history or checked & {*study.confirm})
        if is_short and spec.hyperparameters["kl_weight"] > 0 and not has_one_template(evidence, spec):
            cells.append(cell)
    return cells


def one_template(evidence: Evidence) -> Result:
    """On a task with one template the context distribution is constant and the divergence is 0 throughout."""
    histories = _divergences(evidence, one_template=True)
    if not histories:
        return "not checkable", "No task with one template was run with car_ft.", ()
    wrong = [cell for cell, kl in histories.items() if not (np.abs(kl) <= ROUNDING).all()]
    tasks = ", ".join(sorted({evidence.records[c].cell.task for c in histories}))
    passed = f"{len(histories)} cells; car_ft is plain fine-tuning on {tasks}."
    return _decide(list(histories), wrong, passed, f"{len(wrong)} of {len(histories)} cells have a divergence above 0.")


def _divergences(evidence: Evidence, one_template: bool) -> Mapping[str, np.ndarray]:
    """Cell -> train/kl of the confirm cells of car_ft that log it, of tasks with one template or with more."""
    histories = ((cell, history.get("train/kl")) for _, _, cell, history in evidence.confirm_histories(CAR_FT.method))
    curves = {cell: kl for cell, kl in histories if kl is not None and len(kl)}
    return {c: kl for c, kl in curves.items() if has_one_template(evidence, evidence.records[c].cell) == one_template}


CHECKS: Mapping[str, Callable[[Evidence], Result]] = {
    "car_ft with kl_weight 0 is ft, bit for bit": weight_zero_is_ft,
    "the KL is 0 at the first step": starts_at_zero,
    "the KL is above 0 later": moves_away,
    "one template gives a KL of 0": one_template,
}


def failures(checks: Sequence[NullCheck]) -> list[NullCheck]:
    """The failed checks. With any of them no verdict on CAR-FT is valid."""
    return [check for check in checks if check.status == "failed"]
