"""Null checks on the records: conditions for any comparison of CAR-FT with fine-tuning."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Literal

import numpy as np

from carft.config.cell import Cell, stable_hash
from reports.evidence.caveats import has_one_template
from reports.evidence.evidence import CAR_FT, Evidence

NullCheckStatus = Literal["passed", "failed", "not checkable"]
ROUNDING = 1e-5  # nats; a divergence of zero in float32 is at most this
MOVED = 1e-4  # nats; the divergence exceeds this after a few steps of training


class NullProperty(Enum):
    """What must hold -> its name in the table of null checks."""

    WEIGHT_0_IS_FT = "car_ft with kl_weight 0 is ft, bit for bit"
    STARTS_AT_0 = "the KL is 0 at the first step"
    MOVES_AWAY = "the KL is above 0 later"
    IS_0_WITH_ONE_TEMPLATE = "one template gives a KL of 0"


@dataclass(frozen=True)
class NullCheck:
    """The result of a check."""

    what: NullProperty
    compared: int = 0
    """Cells that were looked at, or pairs of cells; 0 where it cannot be checked."""
    wrong: int = 0
    """Those of them that do not have the property."""
    cells: tuple[str, ...] = ()
    """The cells it rests on; of a failed check the cells that fail."""
    is_cut_short: bool = False
    """Whether those that fail do so for a training history that is missing or ends early."""
    has_logits: bool = True
    """Whether all pairs were compared with their logits."""

    @property
    def name(self) -> str:
        """Name in the table of null checks."""
        return self.what.value

    @property
    def status(self) -> NullCheckStatus:
        """Whether all that was compared has the property."""
        if not self.compared:
            return "not checkable"
        return "failed" if self.wrong else "passed"


def null_checks(evidence: Evidence) -> list[NullCheck]:
    """Every check, in order."""
    over_training = [_over_training(evidence, what) for what in OVER_TRAINING]
    return [_weight_0_is_ft(evidence), *over_training]


def failures(checks: Sequence[NullCheck]) -> list[NullCheck]:
    """The failed checks. With any of them no verdict on CAR-FT is valid."""
    return [check for check in checks if check.status == "failed"]


def _weight_0_is_ft(evidence: Evidence) -> NullCheck:
    """car_ft with kl_weight 0 predicts what ft predicts, bit for bit, on every set that both were evaluated on."""
    what = NullProperty.WEIGHT_0_IS_FT
    pairs = _twins(evidence)
    cells = _cells_of(pairs)
    apart = []
    for first, second in pairs:
        if not _have_same_predictions(evidence, first, second):
            apart.append((first, second))
    if apart:
        return NullCheck(what, len(pairs), len(apart), _cells_of(apart))
    has_logits = all(evidence.store.has_logits(cell, "val") for cell in cells)
    return NullCheck(what, len(pairs), 0, cells, has_logits=has_logits)


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


def _starts_at_0(divergence: np.ndarray) -> bool:
    return abs(divergence[0]) <= ROUNDING


def _moves_away(divergence: np.ndarray) -> bool:
    return bool(np.isfinite(divergence).all()) and divergence[1:].max() > MOVED


def _is_0(divergence: np.ndarray) -> bool:
    return bool((np.abs(divergence) <= ROUNDING).all())


#: property of the divergence over the steps of training, which is logged before each update -> whether it holds
OVER_TRAINING: Mapping[NullProperty, Callable[[np.ndarray], bool]] = {
    NullProperty.STARTS_AT_0: _starts_at_0,
    NullProperty.MOVES_AWAY: _moves_away,
    NullProperty.IS_0_WITH_ONE_TEMPLATE: _is_0,
}


def _over_training(evidence: Evidence, what: NullProperty) -> NullCheck:
    """A property of the divergence over the steps of confirm cells, on tasks with one template or with more.

    A cell without a divergence, or with a shorter one than another of its study, fails the check too.
    """
    studies = _divergences(evidence, what == NullProperty.IS_0_WITH_ONE_TEMPLATE)
    compared, wrong, short = [], [], []
    for histories in studies:
        longest = max(map(len, histories.values()))
        for cell, divergence in histories.items():
            if len(divergence) > 1:
                compared.append(cell)
                if not OVER_TRAINING[what](divergence):
                    wrong.append(cell)
            if len(divergence) < max(1, longest):
                short.append(cell)
    if not compared:
        return NullCheck(what)
    if wrong:
        return NullCheck(what, len(compared), len(wrong), tuple(wrong))
    if short:
        return NullCheck(what, len(compared), len(short), tuple(short), is_cut_short=True)
    return NullCheck(what, len(compared), 0, tuple(compared))


def _divergences(evidence: Evidence, with_one_template: bool) -> list[Mapping[str, np.ndarray]]:
    """Of each study of car_ft, confirm cell -> its divergence at each step, empty where there is none."""
    studies: dict[str, dict[str, np.ndarray]] = {}
    for _, study, cell in evidence.confirm_cells(CAR_FT.method):
        spec = evidence.records[cell].cell
        if has_one_template(evidence, spec) == with_one_template and spec.hyperparameters["kl_weight"] > 0:
            history = evidence.archive.history(cell)
            studies.setdefault(study.id, {})[cell] = history.get("train/kl", np.zeros(0))
    return list(studies.values())
