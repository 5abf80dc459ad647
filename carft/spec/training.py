"""The training recipe of a cell: the budget, the batches, the schedule and the augmentation. No torch."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Any

from carft.core.errors import UserError

#: a global norm of gradients that nothing reaches: no clipping
NO_CLIP = 1e9
#: optional settings of a recipe -> allowed values, the default first
CHOICES = {"augmentation": ("crop", "domainbed", "clipood"), "schedule": ("cosine", "constant")}
#: settings that a recipe holds only when they are not the default
OPTIONAL = ("steps", "domain_balanced", *CHOICES)


@dataclass(frozen=True)
class Training:
    """The training recipe, which a search does not change. Raises ``UserError`` for a value out of range."""

    epochs: int = 5
    """Passes over the training set, at least 1. With ``steps``: parts of equal length, each ended by a validation."""
    batch_size: int = 32
    """Images per step over all workers, at least 1; with ``domain_balanced``, of each training domain."""
    weight_decay: float = 0.1
    """Weight decay of AdamW on every trained tensor, at least 0."""
    warmup: float = 0.1
    """Share of the steps with a linear warm-up, in [0, 1). The schedule follows."""
    clip: float = 1.0
    """Largest global norm of the gradient, above 0."""
    crop: float = 0.9
    """Smallest share of the area in RandomResizedCrop, in (0, 1]."""
    steps: int | None = None
    """Updates of the whole training, at least ``epochs``; None: as many as the passes take."""
    domain_balanced: bool = False
    """Whether every batch holds ``batch_size`` images of each training domain, drawn with replacement."""
    augmentation: str = "crop"
    """``crop``: RandomResizedCrop from ``crop`` on, bicubic. ``domainbed``, ``clipood``: as in the code of the two
    projects (docs/protocol.md)."""
    schedule: str = "cosine"
    """Learning rate after the warm-up: a cosine to 0, or ``constant``."""

    def __post_init__(self) -> None:
        for name, value in (("number of epochs", self.epochs), ("batch size", self.batch_size)):
            if value < 1:
                raise UserError(f"The {name} must be at least 1, not {value}.")
        require_positive("gradient clip", self.clip)
        require_positive("crop", self.crop)
        require_not_negative("weight decay", self.weight_decay)
        if not 0 <= self.warmup < 1:
            raise UserError(f"The warm-up must lie in [0, 1), not {self.warmup}.")
        if self.crop > 1:
            raise UserError(f"The crop must lie in (0, 1], not {self.crop}.")
        require_choices(self, CHOICES)
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
        """The recipe as JSON values, without optional settings at their default."""
        return without_defaults(self, OPTIONAL)

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


def without_defaults(settings: Any, optional: tuple[str, ...]) -> dict[str, Any]:
    """The fields of a dataclass, without those of ``optional`` at their default."""
    values = [(f, getattr(settings, f.name)) for f in fields(settings)]
    return {f.name: value for f, value in values if f.name not in optional or value != f.default}


def require_choices(settings: Any, choices: dict[str, tuple[str, ...]]) -> None:
    """Raise ``UserError`` unless each named field has one of its values."""
    for name, known in choices.items():
        if getattr(settings, name) not in known:
            words = name.replace("_", " ")
            raise UserError(f"There is no {words} '{getattr(settings, name)}'.", f"Known: {', '.join(known)}.")


def require_positive(name: str, value: float) -> None:
    """Raise ``UserError`` unless ``value`` is finite and above zero."""
    if not (math.isfinite(value) and value > 0):
        raise UserError(f"The {name} must be a finite number above 0, not {value}.")


def require_not_negative(name: str, value: float) -> None:
    """Raise ``UserError`` unless ``value`` is finite and at least zero."""
    if not (math.isfinite(value) and value >= 0):
        raise UserError(f"The {name} must be a finite number of at least 0, not {value}.")
