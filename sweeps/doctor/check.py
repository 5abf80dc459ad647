"""A check, and the sweep on this machine that checks look at."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

from carft.core.errors import UserError
from sweeps.plan.planning import Plan, plan_of
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
    """A sweep on this machine."""

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

    @cached_property
    def plan(self) -> Plan:
        """What the sweep takes, by records or an estimate."""
        return plan_of(self.protocol, self.request, concurrency_here(self.request))
