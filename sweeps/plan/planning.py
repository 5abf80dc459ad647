"""A plan: what a sweep will take on the hardware it is asked to run on, from everything that is known here. No Ray."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from carft.training.hardware import machine
from carft.models.availability import size_of
from sweeps.ray_backend.preflight import starts
from sweeps.ray_backend.connect import Request
from sweeps.plan.forecast import Forecast, forecast
from sweeps.plan.outcomes import Outcome, corrections, outcome_of, read_outcomes, write_outcome
from sweeps.search.protocol import Protocol
from sweeps.plan.rates import Hardware, Rates, estimated, measured, newest


@dataclass(frozen=True)
class Plan:
    """A forecast, what it is for, and how earlier sweeps in this folder went."""

    forecast: Forecast
    model: str
    hardware: Hardware
    outcomes: Sequence[Outcome]

    def close(self, protocol: Protocol, name: str, cells: int, failed: int, wall_s: float, ended: str) -> Outcome:
        """Write what came of it beside the results, as plans/<name>.json."""
        outcome = outcome_of(
            self.forecast, protocol.recipe.name, self.model, self.hardware, cells, failed, wall_s, ended
        )
        write_outcome(protocol.store, name, outcome)
        return outcome


def plan_of(protocol: Protocol, request: Request, slots: int, calibrated: Rates | None = None) -> Plan:
    """The plan of what ``protocol`` has left, ``slots`` cells at a time.

    Rates come from a calibration where there was one, else from records of the model on this hardware, else from the
    model's size. Sweeps that were measured before correct the last two; a calibration knows nothing of their load.
    """
    model = starts(protocol.recipe)[0][0]
    hardware = hardware_of(request, protocol.recipe.precision)
    outcomes, size = read_outcomes(protocol.store), size_of(model)
    rates = calibrated or measured(newest(protocol.store, model), hardware, "on record here")
    known = corrections(outcomes, model, hardware) if rates and not calibrated else []
    if rates is None and size is not None:
        rates = estimated(size, hardware)
    return Plan(forecast(protocol, slots, rates, known, size), model, hardware, outcomes)


def hardware_of(request: Request, precision: str) -> Hardware:
    """The hardware that a request means: this machine, or machines that are not known from here."""
    device = request.placement.device
    here = machine(device)
    unknown = request.address is not None or (device == "cuda" and "gpu" not in here)
    return Hardware(device, request.workers_per_cell, precision, None if unknown else here, request.cells_per_gpu)
