"""The training recipe of a cell: the budget, the batches, the schedule and the augmentation. No torch."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import Field

from carft.core.errors import UserError
from carft.core.settings import Settings, without_defaults

#: a global norm of gradients that nothing reaches: no clipping
NO_CLIP = 1e9
#: settings that a recipe always holds; it holds others only when they are not the default, so that ids stay
ALWAYS_HELD = ("epochs", "batch_size", "weight_decay", "warmup", "clip", "crop")


@dataclass(frozen=True)
class Training(Settings):
    """The training recipe, which a search does not change. Raises ``UserError`` for a value out of range."""

    epochs: Annotated[
        int, Field(ge=1, description="Passes over the training set; with steps the number of validations.")
    ] = 5
    batch_size: Annotated[
        int, Field(ge=1, description="Images per step over all workers; with domain_balanced of each training domain.")
    ] = 32
    weight_decay: Annotated[float, Field(ge=0, description="Weight decay of AdamW on every trained tensor.")] = 0.1
    warmup: Annotated[float, Field(ge=0, lt=1, description="Share of the steps with a linear warm-up.")] = 0.1
    clip: Annotated[float, Field(gt=0, description="Largest global norm of the gradient.")] = 1.0
    crop: Annotated[float, Field(gt=0, le=1, description="Smallest share of the area in RandomResizedCrop.")] = 0.9
    steps: Annotated[
        int | None, Field(ge=1, description="Updates of the whole training, in place of passes; at least epochs.")
    ] = None
    domain_balanced: Annotated[
        bool, Field(description="A batch of each training domain in every step, drawn with replacement, as DomainBed.")
    ] = False
    augmentation: Annotated[
        Literal["crop", "domainbed", "clipood"],
        Field(description="RandomResizedCrop, bicubic, or the augmentation of DomainBed or CLIPood."),
    ] = "crop"
    schedule: Annotated[
        Literal["cosine", "constant"], Field(description="Learning rate after the warm-up: a cosine to 0, or constant.")
    ] = "cosine"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.steps is not None and self.steps < self.epochs:
            raise UserError(
                f"{self.steps} steps cannot be divided into {self.epochs} parts with a validation each.",
                "Give at least as many steps as epochs.",
            )

    @property
    def is_drawn(self) -> bool:
        """Whether an epoch is a number of steps instead of one pass over the training set."""
        return self.steps is not None or self.domain_balanced

    def as_dict(self) -> dict[str, Any]:
        """The recipe as JSON values, without later settings at their default."""
        return without_defaults(self, vars(self).keys() - ALWAYS_HELD)

    def images_per_step(self, domains: int) -> int:
        """Images of a full batch. domains: training domains of the task, at least 1."""
        return self.batch_size * (domains if self.domain_balanced else 1)

    def bounds(self, count: int, domains: int = 1) -> list[int]:
        """The step at which each epoch begins, and the number of all steps. count: images of the training set."""
        if self.steps is not None:
            return [epoch * self.steps // self.epochs for epoch in range(self.epochs + 1)]
        steps = math.ceil(count / self.images_per_step(domains))
        return [epoch * steps for epoch in range(self.epochs + 1)]

    def images_seen(self, count: int, domains: int = 1) -> int:
        """Images of all steps of the training."""
        if not self.is_drawn:
            return self.epochs * count
        return self.bounds(count, domains)[-1] * self.images_per_step(domains)
