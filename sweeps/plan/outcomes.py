"""What was predicted of a sweep against what it took, as a small file beside the results. No Ray.

plans/<start>-<process>.json      one for each sweep that ran anything; named as its state in sweeps/
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from carft.core.files import write_atomic
from carft.store.records import Store
from sweeps.plan.forecast import Forecast

SCHEMA = 1
#: a sweep of fewer cells says nothing about the next one's time: most of it is the start
FEW_CELLS = 8


@dataclass(frozen=True)
class PlanResult:
    """A sweep that is over. hardware: what its rates were for, in words. ended: done, stopped or broken.

    predicted_cells, predicted_s, low_s, high_s, basis: as forecast; raw_s: before correction by earlier sweeps.
    cells, failed, wall_s: what it came to.
    """

    recipe: str
    model: str
    hardware: str
    slots: int
    predicted_cells: int
    predicted_s: float
    low_s: float
    high_s: float
    raw_s: float
    basis: str
    estimate: bool
    cells: int
    failed: int
    wall_s: float
    ended: str

    @property
    def is_measure(self) -> bool:
        """Whether it tells how much longer than its raw prediction a sweep takes."""
        whole = self.ended == "done" and not self.failed and self.cells == self.predicted_cells
        return whole and self.cells >= FEW_CELLS and self.raw_s > 0 and not self.estimate

    @property
    def words(self) -> str:
        """Predicted against actual in one sentence."""
        cells = f"{self.cells} of {self.predicted_cells} predicted cells in {self.wall_s:.0f} s"
        if not self.predicted_s:
            return f"{cells}; no time was predicted"
        range_ = f"{self.low_s:.0f} to {self.high_s:.0f}"
        kind = "estimated" if self.estimate else "predicted"
        return f"{cells}; {kind}: {self.predicted_s:.0f} s ({range_})"


def plan_result_of(
    forecast: Forecast, recipe: str, model: str, hardware: object, cells: int, failed: int, wall_s: float, ended: str
) -> PlanResult:
    """A forecast beside what came of it."""
    return PlanResult(
        recipe=recipe,
        model=model,
        hardware=str(hardware),
        slots=forecast.slots,
        predicted_cells=forecast.cells,
        predicted_s=forecast.wall_s,
        low_s=forecast.low_s,
        high_s=forecast.high_s,
        raw_s=forecast.raw_s,
        basis=forecast.basis,
        estimate=forecast.estimate,
        cells=cells,
        failed=failed,
        wall_s=wall_s,
        ended=ended,
    )


def write_plan_result(store: Store, name: str, outcome: PlanResult) -> None:
    """Write plans/<name>.json."""
    path = store.root / "plans" / f"{name}.json"
    path.parent.mkdir(exist_ok=True)  # never the folder itself: a share that left must not be filled
    text = json.dumps({"schema": SCHEMA, **asdict(outcome)}, indent=1, allow_nan=False)
    with store.changing(f"plans/{path.name}"):
        write_atomic(path, lambda part: part.write_text(text + "\n", encoding="utf-8"))


def read_plan_results(store: Store) -> list[PlanResult]:
    """Every outcome that can be read, oldest first; a torn file is passed over, since nothing rests on it."""
    paths = sorted((store.root / "plans").glob("*.json"))
    return [found for path in paths if (found := _read(path)) is not None]


def corrections(outcomes: Sequence[PlanResult], model: str, hardware: object) -> list[float]:
    """Actual over raw predicted wall time of the sweeps of this model on this hardware that can tell."""
    alike = [o for o in outcomes if (o.model, o.hardware) == (model, str(hardware)) and o.is_measure]
    return [o.wall_s / o.raw_s for o in alike]


def _read(path: Path) -> PlanResult | None:
    try:
        content: Mapping[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        if content["schema"] != SCHEMA:
            return None
        found = PlanResult(**{name: content[name] for name in PlanResult.__dataclass_fields__})
        _require_types(found)
        return found
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None


def _require_types(outcome: PlanResult) -> None:
    numbers = {"slots", "predicted_cells", "predicted_s", "low_s", "high_s", "raw_s", "cells", "failed", "wall_s"}
    for name, value in asdict(outcome).items():
        wanted: Any = (int, float) if name in numbers else bool if name == "estimate" else str
        if not isinstance(value, wanted) or (name in numbers and (isinstance(value, bool) or not 0 <= value < 1e11)):
            raise ValueError(f"'{name}' has the wrong type")
