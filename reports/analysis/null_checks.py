"""Null checks on the records: conditions for any comparison of CAR-FT with fine-tuning."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass
from itertools import chain
from typing import Literal

import numpy as np
import pandas as pd
from scipy.special import log_softmax

from carft.spec.cell import Cell, stable_hash
from reports.analysis.pairing import same_predictions
from reports.evidence.caveats import has_one_template
from reports.evidence.evidence import CAR_FT, ZERO_SHOT, Evidence

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


def null_checks(evidence: Evidence) -> list[NullCheck]:
    """Every check, in order."""
    return [check(name, evidence) for name, check in CHECKS.items()]


def null_table(checks: Sequence[NullCheck]) -> pd.DataFrame:
    """One row per check: passed, failed or not checkable, with why and the cells."""
    rows = [(c.name, c.status, c.words, len(c.cells), " ".join(c.cells)) for c in checks]
    return pd.DataFrame(rows, columns=["check", "status", "words", "n_cells", "cells"])


def weight_zero_is_ft(name: str, evidence: Evidence) -> NullCheck:
    """car_ft with kl_weight 0 predicts what ft predicts, bit for bit, on every set that both were evaluated on."""
    twins = {_key(r.cell): cell for cell, r in evidence.records.items() if r.cell.method == "ft"}
    zero = {
        cell: twins[_key(r.cell)]
        for cell, r in evidence.records.items()
        if r.cell.method == "car_ft" and r.cell.hyperparameters["kl_weight"] == 0 and _key(r.cell) in twins
    }
    if not zero:
        words = "No car_ft cell with kl_weight 0 has an ft cell of the same learning rate and seed."
        return NullCheck(name, "not checkable", words)
    if not all(evidence.store.has_logits(cell, "val") for pair in zero.items() for cell in pair):
        return NullCheck(name, "not checkable", NO_LOGITS)
    apart = [pair for pair in zero.items() if not _same_predictions(evidence, *pair)]
    if apart:
        return NullCheck(name, "failed", f"{len(apart)} of {len(zero)} pairs differ.", tuple(chain(*apart)))
    return NullCheck(name, "passed", f"{len(zero)} pairs agree in every bit.", tuple(chain(*zero.items())))


def _key(cell: Cell) -> str:
    spec = cell.record_form()
    spec["hyperparameters"].pop("kl_weight", None)
    return stable_hash({k: v for k, v in spec.items() if k != "method"})


def _same_predictions(evidence: Evidence, first: str, second: str) -> bool:
    names = ["val", *sorted(evidence.archive.evaluated(first) & evidence.archive.evaluated(second))]
    read = evidence.store.predictions
    return all(same_predictions(read(first, name), read(second, name)) for name in names)


def starts_at_zero(name: str, evidence: Evidence) -> NullCheck:
    """The divergence of the first step, which is logged before any update, is 0 up to rounding."""
    good, bad = "start at a divergence of 0", "start above 0"
    return _on_histories(name, evidence, lambda kl: abs(kl[0]) <= ROUNDING, good, bad)


def moves_away(name: str, evidence: Evidence) -> NullCheck:
    """Later steps have a divergence above 0. A term that stays 0 has no effect."""

    def moves(kl: np.ndarray) -> bool:
        return bool(np.isfinite(kl).all()) and kl[1:].max() > MOVED

    return _on_histories(name, evidence, moves, "move away from 0", "stay at 0 or are no numbers")


def _on_histories(name: str, evidence: Evidence, holds: Callable[[np.ndarray], bool], good: str, bad: str) -> NullCheck:
    """A property of the divergence over training, for confirm cells of tasks with more than one template."""
    histories = {
        c: kl
        for c, kl in _divergences(evidence).items()
        if not has_one_template(evidence, evidence.records[c].cell) and len(kl) > 1
    }
    if not histories:
        words = "No confirm cell of car_ft with a training history of more than one step."
        return NullCheck(name, "not checkable", words)
    wrong = tuple(cell for cell, kl in histories.items() if not holds(kl))
    if wrong:
        return NullCheck(name, "failed", f"{len(wrong)} of {len(histories)} cells {bad}.", wrong)
    if lost := _without_history(evidence, set(histories)):
        return NullCheck(name, "failed", f"The training history of {len(lost)} cells is missing or cut short.", lost)
    return NullCheck(name, "passed", f"All {len(histories)} confirm cells {good}.", tuple(histories))


def _without_history(evidence: Evidence, checked: Set[str]) -> tuple[str, ...]:
    """Confirm cells without a divergence, where others have one; or of fewer steps than a check needs, where others of
    their study have as many. known: the cells that are checked."""
    cells = []
    for _, study, cell, history in evidence.confirm_histories(CAR_FT.method):
        spec = evidence.records[cell].cell
        short = "train/kl" not in history or checked & {*study.confirm}
        if (
            cell not in checked
            and short
            and spec.hyperparameters["kl_weight"] > 0
            and not has_one_template(evidence, spec)
        ):
            cells.append(cell)
    return tuple(cells)


def one_template(name: str, evidence: Evidence) -> NullCheck:
    """On a task with one template the context distribution is constant and the divergence is 0 throughout."""
    histories = {
        c: kl for c, kl in _divergences(evidence).items() if has_one_template(evidence, evidence.records[c].cell)
    }
    if not histories:
        return NullCheck(name, "not checkable", "No task with one template was run with car_ft.")
    wrong = tuple(cell for cell, kl in histories.items() if not (np.abs(kl) <= ROUNDING).all())
    tasks = sorted({evidence.label(evidence.records[c].cell.task) for c in histories})
    words = f"car_ft is plain fine-tuning on {', '.join(tasks)}"
    if wrong:
        return NullCheck(name, "failed", f"{len(wrong)} of {len(histories)} cells have a divergence above 0.", wrong)
    return NullCheck(name, "passed", f"{len(histories)} cells; {words}.", tuple(histories))


def _divergences(evidence: Evidence) -> Mapping[str, np.ndarray]:
    """train/kl of the confirm cells of car_ft that have a weight above 0, by cell."""
    curves = {cell: history.get("train/kl") for _, _, cell, history in evidence.confirm_histories("car_ft")}
    return {cell: kl for cell, kl in curves.items() if kl is not None and len(kl)}


def rows_do_not_matter(name: str, evidence: Evidence) -> NullCheck:
    """KL between the contexts that zero-shot and a tuned model give an image is the same in any order of templates.

    On records this finds only logits that are corrupt or not finite. That the loss does not depend on the order needs a
    model; ``tests/carft/posthoc/test_null_checks.py`` checks it.
    """
    pairs = [
        (view, str(cells[0]), str(start[0]))
        for view in evidence.views()
        for task in view.tasks
        if (cells := view.cells(task, CAR_FT)) and (start := view.cells(task, ZERO_SHOT))
    ]
    if not pairs:
        return NullCheck(name, "not checkable", "No task has both an unsealed zero-shot and car_ft cell.")
    if not all(view.store.has_logits(cell, "val") for view, *pair in pairs for cell in pair):
        return NullCheck(name, "not checkable", NO_LOGITS)
    wrong: list[str] = []
    for view, tuned, before in pairs:
        set_name = view.set_names(view.records[tuned].cell.task)[0]
        logits = [view.store.predictions(cell, set_name).context_logits for cell in (before, tuned)]
        order = np.random.default_rng(0).permutation(logits[0].shape[1])
        plain, permuted = _divergence(*logits), _divergence(*(part[:, order] for part in logits))
        if not np.allclose(plain, permuted, rtol=1e-6, atol=1e-9):
            wrong.append(tuned)
    if wrong:
        return NullCheck(name, "failed", f"{len(wrong)} of {len(pairs)} cells change.", tuple(wrong))
    used = dict.fromkeys(cell for _, *pair in pairs for cell in pair)
    return NullCheck(name, "passed", f"Unchanged for {len(pairs)} pairs of cells.", tuple(used))


def _divergence(start: np.ndarray, tuned: np.ndarray) -> np.ndarray:
    p, q = (log_softmax(part.astype(np.float64), axis=1) for part in (start, tuned))
    return (np.exp(p) * (p - q)).sum(1)


CHECKS: Mapping[str, Callable[[str, Evidence], NullCheck]] = {
    "car_ft with kl_weight 0 is ft, bit for bit": weight_zero_is_ft,
    "the KL is 0 at the first step": starts_at_zero,
    "the KL is above 0 later": moves_away,
    "one template gives a KL of 0": one_template,
    "the order of the context rows does not matter": rows_do_not_matter,
}


def failures(checks: Sequence[NullCheck]) -> list[NullCheck]:
    """The failed checks. With any of them no verdict on CAR-FT is valid."""
    return [check for check in checks if check.status == "failed"]
