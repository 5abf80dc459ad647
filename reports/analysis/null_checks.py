"""Null checks on the records: conditions for any comparison of CAR-FT with fine-tuning."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
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
#: the check of FT against itself
SAME = "car_ft with kl_weight 0 is ft, bit for bit"
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


def null_checks(evidence: Evidence) -> list[NullCheck]:
    """Every check, in order."""
    # the divergence is logged at the first step before any update; a term that stays 0 later has no effect
    starts_at_zero = _check_histories(
        "the KL is 0 at the first step",
        evidence,
        lambda kl: abs(kl[0]) <= ROUNDING,
        ("start at a divergence of 0", "start above 0"),
    )
    moves_away = _check_histories(
        "the KL is above 0 later",
        evidence,
        lambda kl: bool(np.isfinite(kl).all()) and kl[1:].max() > MOVED,
        ("move away from 0", "stay at 0 or are no numbers"),
    )
    return [weight_zero_is_ft(evidence), starts_at_zero, moves_away, one_template(evidence)]


def _decided(name: str, cells: Sequence[str], wrong: Sequence[str], passed: str, failed: str) -> NullCheck:
    """A check that some cells fail, or none."""
    return NullCheck(name, "failed", failed, tuple(wrong)) if wrong else NullCheck(name, "passed", passed, tuple(cells))


def weight_zero_is_ft(evidence: Evidence) -> NullCheck:
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
    if not all(evidence.store.has_logits(cell, "val") for cell in chain(*pairs)):
        return NullCheck(SAME, "not checkable", "The folder holds no logits: it comes from a compact archive.")
    read, evaluated, apart = evidence.store.prediction_table, evidence.archive.evaluated, []
    for first, second in pairs:
        names = ["val", *sorted(evaluated(first) & evaluated(second))]
        if not all(same_predictions(read(first, name), read(second, name)) for name in names):
            apart.append((first, second))
    passed, failed = f"{len(pairs)} pairs agree in every bit.", f"{len(apart)} of {len(pairs)} pairs differ."
    return _decided(SAME, list(chain(*pairs)), list(chain(*apart)), passed, failed)


def _key(cell: Cell) -> str:
    spec = cell.record_form()
    spec["hyperparameters"].pop("kl_weight", None)
    return stable_hash({k: v for k, v in spec.items() if k != "method"})


def _check_histories(
    name: str, evidence: Evidence, holds: Callable[[np.ndarray], bool], words: tuple[str, str]
) -> NullCheck:
    """A property of the divergence over training, for confirm cells of tasks with more than one template.

    words: what cells do of which it holds, and the others. A cell without a divergence, where others have one, fails
    the check; so does one of fewer steps than the check needs, where others of its study have as many.
    """
    histories = {cell: kl for cell, kl in _divergences(evidence, one_template=False).items() if len(kl) > 1}
    if not histories:
        missing = "No confirm cell of car_ft with a training history of more than one step."
        return NullCheck(name, "not checkable", missing)
    wrong = [cell for cell, kl in histories.items() if not holds(kl)]
    failed = f"{len(wrong)} of {len(histories)} cells {words[1]}."
    if not wrong:
        for _, study, cell, history in evidence.confirm_histories(CAR_FT.method):
            spec = evidence.records[cell].cell
            is_short = cell not in histories and ("train/kl" not in history or histories.keys() & {*study.confirm})
            if is_short and spec.hyperparameters["kl_weight"] > 0 and not has_one_template(evidence, spec):
                wrong.append(cell)
        failed = f"The training history of {len(wrong)} cells is missing or cut short."
    return _decided(name, list(histories), wrong, f"All {len(histories)} confirm cells {words[0]}.", failed)


def one_template(evidence: Evidence) -> NullCheck:
    """On a task with one template the context distribution is constant and the divergence is 0 throughout."""
    name, histories = "one template gives a KL of 0", _divergences(evidence, one_template=True)
    if not histories:
        return NullCheck(name, "not checkable", "No task with one template was run with car_ft.")
    wrong = [cell for cell, kl in histories.items() if not (np.abs(kl) <= ROUNDING).all()]
    tasks = ", ".join(sorted({evidence.records[c].cell.task for c in histories}))
    passed = f"{len(histories)} cells; car_ft is plain fine-tuning on {tasks}."
    failed = f"{len(wrong)} of {len(histories)} cells have a divergence above 0."
    return _decided(name, list(histories), wrong, passed, failed)


def _divergences(evidence: Evidence, one_template: bool) -> Mapping[str, np.ndarray]:
    """Cell -> train/kl of the confirm cells of car_ft that log it, of tasks with one template or with more."""
    histories = ((cell, history.get("train/kl")) for _, _, cell, history in evidence.confirm_histories(CAR_FT.method))
    curves = {cell: kl for cell, kl in histories if kl is not None and len(kl)}
    return {c: kl for c, kl in curves.items() if has_one_template(evidence, evidence.records[c].cell) == one_template}


def failures(checks: Sequence[NullCheck]) -> list[NullCheck]:
    """The failed checks. With any of them no verdict on CAR-FT is valid."""
    return [check for check in checks if check.status == "failed"]
