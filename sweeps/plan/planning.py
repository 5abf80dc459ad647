"""The plan of a sweep, the number of workers of a cell where nobody gives it, and the outcome as a file. No Ray.

plans/<start>-<process>.json      one for each sweep that ran a cell; named as its state in sweeps/
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Annotated, ClassVar

from pydantic import Field

from carft.core.errors import UserError
from carft.models.availability import size_of
from carft.store.document import Document, only_version, read_document
from carft.store.records import Store
from carft.store.sweep_state import Seconds
from carft.training.execution import hardware_name
from sweeps.plan.forecast import Forecast, forecast
from sweeps.plan.needs import Needs, needs_of
from sweeps.plan.rates import Hardware, Rates, estimated, newest, recorded
from sweeps.plan.work import Costs
from sweeps.ray_backend.connect import Resources
from sweeps.ray_backend.memory import may_have_parts
from sweeps.ray_backend.preflight import starts
from sweeps.search.protocol import Protocol

SCHEMA = 1
#: speedup of a sweep from which on more workers are taken: they exchange gradients, which no forecast counts
MIN_SPEEDUP = 1.25
Count = Annotated[int, Field(ge=0)]


class PlanResult(Document):
    """Forecast and outcome of a sweep that ended."""

    hint: ClassVar[str] = "Remove the file; no result depends on it."

    version: Annotated[int, only_version(SCHEMA)] = Field(SCHEMA, alias="schema")
    """Version of the format of this file. Written as ``schema``."""
    recipe: str
    """Name of the recipe."""
    model: str
    """Name of the model."""
    hardware: str
    """Hardware of the forecast, as text."""
    slots: Count
    """Cells at a time."""
    predicted_cells: Count
    """Cells of the forecast."""
    predicted_s: Seconds
    """Forecast of the wall time."""
    low_s: Seconds
    """Low end of its range."""
    high_s: Seconds
    """High end of its range."""
    raw_s: Seconds
    """Same as ``predicted_s``; differs in files of earlier versions only."""
    basis: str
    """What the forecast comes from."""
    estimate: bool
    """Whether nothing was measured."""
    cells: Count
    """Cells that the sweep finished."""
    failed: Count
    """Cells that failed."""
    wall_s: Seconds
    """Wall time of the sweep."""
    ended: str
    """``done``, ``stopped`` or ``broken``."""

    @property
    def summary(self) -> str:
        """Forecast and outcome in one sentence."""
        cells = f"{self.cells} of {self.predicted_cells} predicted cells in {self.wall_s:.0f} s"
        if not self.predicted_s:
            return f"{cells}; no time was predicted"
        kind = "estimated" if self.estimate else "predicted"
        return f"{cells}; {kind}: {self.predicted_s:.0f} s ({self.low_s:.0f} to {self.high_s:.0f})"


@dataclass(frozen=True)
class Plan:
    """A forecast, what it rests on and what it needs, and the outcomes of earlier sweeps in the results folder."""

    forecast: Forecast
    rates: Rates | None
    model: str
    hardware: Hardware
    earlier: Sequence[PlanResult]
    needs: Needs
    widens: bool = False
    """As of the request."""
    costs: Costs | None = None
    """What cells take; None: as far as it is known without a data folder."""

    def result(self, recipe: str, cells: int, failed: int, wall_s: float, ended: str) -> PlanResult:
        """This plan with the outcome of its sweep."""
        made = self.forecast
        return PlanResult(
            recipe=recipe,
            model=self.model,
            hardware=str(self.hardware),
            slots=made.slots,
            predicted_cells=made.cells,
            predicted_s=made.wall_s,
            low_s=made.low_s,
            high_s=made.high_s,
            raw_s=made.wall_s,
            basis=made.basis,
            estimate=made.estimate,
            cells=cells,
            failed=failed,
            wall_s=wall_s,
            ended=ended,
        )


def plan_of(protocol: Protocol, request: Resources, slots: int, calibration: Rates | None = None) -> Plan:
    """The plan of what ``protocol`` has left. slots: cells at a time.

    The rates are those of ``calibration``, else of records of the model on this hardware, else of the model's size.
    """
    model = starts(protocol.recipe)[0][0]
    hardware, size = hardware_of(request, protocol.recipe.precision), size_of(model)
    costs = Costs(protocol.store.catalog, request.execution)
    rates = calibration or recorded(newest(protocol.store, model, costs), hardware, costs, size)
    if rates is None and size is not None:
        rates = estimated(size, hardware)
    earlier = read_plan_results(protocol.store)
    alike = [result for result in earlier if (result.model, result.hardware) == (model, str(hardware))]
    misses = misses_of([result for result in alike if rates is not None and result.estimate == rates.estimate])
    made = forecast(protocol, slots, rates, size, request.widens, misses, costs)
    needs = needs_of(protocol.recipe, request, made, hardware, size, rates.trained.seconds if rates else 0.0, costs)
    return Plan(made, rates, model, hardware, earlier, needs, request.widens, costs)


def choose_workers_per_cell(request: Resources, protocol: Protocol) -> Resources:
    """The request with the number of workers of each cell that ends the sweep soonest.

    One worker without GPUs, with shared GPUs, for cells of less than an hour, and for methods that need whole batches.
    A recipe whose search cells are on record keeps their number, so that one search is not run partly with one number
    and partly with another.
    """
    if request.gpus < 2 or request.cells_per_gpu > 1:
        return request
    best, recipe = _plan(request, protocol), protocol.recipe
    if before := _searched_with(protocol):
        return _with(request, before) if before <= request.gpus else request
    if not best.needs.long_cells:
        return request
    for workers in (n for n in range(2, request.gpus + 1) if request.gpus % n == 0):
        wider = _with(request, workers)
        methods = map(recipe.catalog.method, recipe.methods)
        if not all(may_have_parts(method, workers, request.execution.accumulation) for method in methods):
            break
        made = _plan(wider, protocol)
        if best.forecast.wall_s >= MIN_SPEEDUP * made.forecast.wall_s:
            request, best = wider, made
    return request


def _plan(request: Resources, protocol: Protocol) -> Plan:
    """The plan by the size of the model alone: what zero-shot cells took would favour their number of workers."""
    size = size_of(starts(protocol.recipe)[0][0])
    rate = estimated(size, hardware_of(request, protocol.recipe.precision)) if size else None
    return plan_of(protocol, request, max(1, request.gpus // request.workers_per_cell), rate)


def _with(request: Resources, workers: int) -> Resources:
    return replace(request, widens=workers > 1, execution=replace(request.execution, workers=workers))


def _searched_with(protocol: Protocol) -> int:
    """Workers of the search cells of the recipe that are on record; 0 without one. They are never wider."""
    for study in protocol.studies:
        for cell in study.trial_cells:
            if cell.id in protocol.done:
                return int(protocol.store.read(cell.id).provenance["execution"]["workers"])
    return 0


def misses_of(earlier: Sequence[PlanResult]) -> tuple[float, float]:
    """Smallest and largest ratio of the time that a sweep took to its forecast; (1, 1) where no sweep tells.

    A sweep that was stopped, or that did not finish the cells of its forecast, does not tell.
    """
    whole = [r for r in earlier if r.ended == "done" and r.predicted_s and r.cells == r.predicted_cells]
    ratios = [result.wall_s / result.predicted_s for result in whole]
    return min(ratios, default=1.0), max(ratios, default=1.0)


def hardware_of(request: Resources, precision: str) -> Hardware:
    """The requested hardware: this machine, or the machines of a cluster, of which the GPU card may be named."""
    device = request.execution.device
    here = hardware_name(device)
    elsewhere = request.address is not None or (device == "cuda" and "gpu" not in here) or bool(request.gpu_model)
    machine = None if elsewhere else here
    workers, sharing = request.workers_per_cell, request.cells_per_gpu
    return Hardware(device, workers, precision, machine, sharing, request.gpu_model)


def write_plan_result(store: Store, name: str, result: PlanResult) -> None:
    """Write plans/<name>.json."""
    store.root.stat()  # FileNotFoundError: a results folder that was unmounted must not be created
    store.put(f"plans/{name}.json", result.model_dump(by_alias=True))


def read_plan_results(store: Store) -> list[PlanResult]:
    """All outcomes that can be read, oldest first. A corrupt file is skipped, since no result depends on it."""
    found = []
    for path in sorted((store.root / "plans").glob("*.json")):
        with suppress(UserError):
            found.append(read_document(path, PlanResult))
    return found
