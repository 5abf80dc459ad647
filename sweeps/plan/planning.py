"""A plan: what a sweep will take on the hardware it is asked to run on, from everything that is known here. No Ray."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from carft.models.availability import size_of
from carft.training.hardware import hardware_name
from sweeps.plan.forecast import Forecast, forecast
from sweeps.plan.outcomes import PlanResult, corrections, plan_result_of, read_plan_results, write_plan_result
from sweeps.plan.rates import Hardware, Rates, estimated, measured, newest
from sweeps.ray_backend.connect import Resources
from sweeps.ray_backend.preflight import starts
from sweeps.search.protocol import Protocol


@dataclass(frozen=True)
class Plan:
    """A forecast, what it is for, and how earlier sweeps in this folder went."""

    forecast: Forecast
    model: str
    hardware: Hardware
    outcomes: Sequence[PlanResult]

    def close(self, protocol: Protocol, name: str, cells: int, failed: int, wall_s: float, ended: str) -> PlanResult:
        """Write what came of it beside the results, as plans/<name>.json."""
        outcome = plan_result_of(
            self.forecast, protocol.recipe.name, self.model, self.hardware, cells, failed, wall_s, ended
        )
        write_plan_result(protocol.store, name, outcome)
        return outcome


def plan_of(protocol: Protocol, request: Resources, slots: int, calibrated: Rates | None = None) -> Plan:
    """The plan of what ``protocol`` has left, ``slots`` cells at a time.

    Rates come from a calibration where there was one, else from records of the model on this hardware, else from the
    model's size. Sweeps that were measured before correct the last two; a calibration knows nothing of their load.
    """
    model = starts(protocol.recipe)[0][0]
    hardware = hardware_of(request, protocol.recipe.precision)
    outcomes, size = read_plan_results(protocol.store), size_of(model)
    rates = calibrated or measured(newest(protocol.store, model), hardware, "on record here")
    known = corrections(outcomes, model, hardware) if rates and not calibrated else []
    if rates is None and size is not None:
        rates = estimated(size, hardware)
    return Plan(forecast(protocol, slots, rates, known, size), model, hardware, outcomes)


def hardware_of(request: Resources, precision: str) -> Hardware:
    """The hardware that a request means: this machine, or machines that are not known from here."""
    device = request.execution.device
    here = hardware_name(device)
    unknown = request.address is not None or (device == "cuda" and "gpu" not in here)
    return Hardware(device, request.workers_per_cell, precision, None if unknown else here, request.cells_per_gpu)
