"""A check, and the sweep on this machine that checks look at."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

from carft.core.errors import UserError
from carft.models.availability import size_of
from sweeps.plan.calibration import calibrated
from sweeps.plan.needs import images_per_second
from sweeps.plan.planning import Plan, hardware_of, plan_of
from sweeps.plan.rates import Rates, estimated
from sweeps.ray_backend.connect import Resources
from sweeps.ray_backend.gpus import concurrency_here
from sweeps.ray_backend.preflight import obstacles_of_recipe
from sweeps.recipes import Recipe
from sweeps.search.protocol import Protocol


@dataclass(frozen=True)
class Check:
    """What was found of one thing. A check raises ``UserError`` where a sweep cannot run."""

    measured: str
    """In words, with units."""
    remedy: str = ""
    """What to do where a sweep is slower or dearer than it could be; empty where nothing is wrong."""
    name: str = ""
    """Of the check."""
    stops: bool = False
    """Whether a sweep cannot run like this."""

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return not (self.remedy or self.stops)


@dataclass(frozen=True, eq=False)
class Subject:
    """A sweep on this machine, and what was measured of it."""

    recipe: Recipe
    request: Resources
    """With the number of workers of a cell."""
    protocol: Protocol
    """Its store is the results folder."""
    log: Callable[[str], None]
    """Gets a sentence before work that takes time."""
    unusable: UserError | None = None
    """Why the object store of the results cannot be used; the protocol then rests on its mirror on this machine."""

    @cached_property
    def gpus(self) -> int:
        """GPUs of the sweep that torch sees."""
        import torch

        return min(self.request.gpus, torch.cuda.device_count())

    @cached_property
    def obstacles(self) -> list[UserError]:
        """What is wrong with methods, data and weights."""
        return obstacles_of_recipe(self.recipe, self.request, self.log)

    @property
    def is_blocked(self) -> bool:
        """Whether no cell can be trained, for want of GPUs, data or weights."""
        return bool(self.obstacles) or self.gpus < self.request.gpus

    @cached_property
    def rates(self) -> Rates | UserError:
        """The rates of the recipe's cells, measured now, or why they cannot be measured."""
        if self.is_blocked:
            return UserError("GPUs, data or weights are missing.")
        self.log("Training on a few batches ...")
        try:
            return calibrated(self.recipe, self.request)
        except UserError as error:  # such as an image that cannot be read
            return error
        except RuntimeError as error:  # of torch, also where memory does not suffice
            hint = "If memory is full: --accumulation 2, or more. Otherwise look at nvidia-smi and the kernel's log."
            return UserError(f"A training step failed: {str(error).splitlines()[0]}.", hint)

    @cached_property
    def plan(self) -> Plan:
        """What the sweep takes: by the measured rates, else by records or an estimate."""
        measured = None if isinstance(self.rates, UserError) else self.rates
        return plan_of(self.protocol, self.request, concurrency_here(self.request), measured)

    @cached_property
    def images_wanted(self) -> float:
        """Images per second that a device trains on, as measured or as estimated for its card, whichever is more.

        A measured step may itself have waited for images. 0 where neither is known.
        """
        size, hardware = size_of(self.plan.model), hardware_of(self.request, self.recipe.precision)
        rates = [self.rates] if isinstance(self.rates, Rates) else []
        rates += [estimated(size, hardware)] if size else []
        pass_s = min((one.trained.seconds * hardware.devices for one in rates), default=0.0)
        return images_per_second(self.recipe, pass_s)
