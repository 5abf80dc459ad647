"""The settings of a cell, a search and an execution, each declared once (docs/extending.md). No torch."""

import dataclasses
import math
from dataclasses import fields
from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, Field
from pydantic.dataclasses import dataclass

from carft.config import frozen_defaults
from carft.core.declaration import STRICT, Settings, without

#: cells that may share a GPU at most
MOST_CELLS_PER_GPU = 100
#: default of :data:`CheckpointMinutes`
CHECKPOINT_MINUTES = 10.0
CheckpointMinutes = Annotated[
    float, Field(ge=0, description="Minutes of training between checkpoints; 0: none; a recipe may differ.")
]
#: limits of counts: more is a mistake in typing
MOST, MOST_STEPS = 10_000, 10_000_000
Selection = Literal["per-task", "shared"]
SamplerName = Literal["sobol", "random", "tpe"]
PrunerName = Literal["none", "halving", "median"]

KlDirection = Literal["pretrained-to-tuned", "tuned-to-pretrained", "symmetric"]
DIRECTIONS: tuple[KlDirection, ...] = get_args(KlDirection)
ClassHead = Literal["trained", "scale-outside", "frozen", "random"]
#: precisions in which what a step keeps has 16 bits
HALF_PRECISIONS = ("bfloat16", "float16")


@dataclasses.dataclass(frozen=True, kw_only=True)
class ProtocolSettings:
    """What cell, recipe and study have in common beside training and reading: each of them inherits these settings."""

    eval_view: Annotated[
        Literal["centre", "centre-bilinear", "stretch"],
        Field(description="View of evaluated images: CLIP's, the same bilinear (CLIPood), or stretched (DomainBed)."),
    ] = "centre"
    """``centre``: shorter side to the model's side, bicubic, centre square. ``centre-bilinear``: the same, bilinear.
    ``stretch``: all of the image to a square, bilinear."""
    holdout: Annotated[
        Literal["stable", "domainbed"],
        Field(description="Validation of DomainBed tasks: by a stable hash of names, or DomainBed's random fifth."),
    ] = "stable"
    """``stable``: a share of each class by a stable hash of names. ``domainbed``: as in DomainBed's code, a random
    fifth of each domain, its trial seed being 0."""
    target_split: Annotated[
        Literal["all", "in", "out"],
        Field(description="With holdout domainbed: all of the held-out domain, in (80 %) or out (20 %)."),
    ] = "all"
    """DomainBed's split of the held-out domain: it reports ``in``, CLIPood reports ``out``."""
    precision: Annotated[
        Literal["float32", "bfloat16", "tf32", "float16"],
        Field(description="Precision of forward and backward pass; tf32: TensorFloat-32 products on a GPU."),
    ] = "float32"
    """With ``float16`` the loss is scaled so that gradients do not vanish. Weights, optimiser and evaluation logits are
    float32."""

    def protocol(self) -> dict[str, Any]:
        """These settings by name."""
        return {f.name: getattr(self, f.name) for f in fields(ProtocolSettings)}


@dataclass(frozen=True)
class Training(Settings):
    """The training recipe, which a search does not change. Raises ``UserError`` for a value out of range."""

    epochs: Annotated[
        int, Field(ge=1, le=MOST, description="Passes over the training set; with steps the number of validations.")
    ] = 5
    batch_size: Annotated[
        int, Field(ge=1, description="Images per step over all workers; with domain_balanced of each training domain.")
    ] = 32
    weight_decay: Annotated[float, Field(ge=0, description="Weight decay of AdamW on every trained tensor.")] = 0.1
    warmup: Annotated[float, Field(ge=0, lt=1, description="Share of the steps with a linear warm-up.")] = 0.1
    clip: Annotated[float, Field(gt=0, description="Largest global norm of the gradient.")] = 1.0
    crop: Annotated[float, Field(gt=0, le=1, description="Smallest share of the area in RandomResizedCrop.")] = 0.9
    steps: Annotated[
        int | None,
        Field(ge=1, le=MOST_STEPS, description="Updates of the whole training, in place of passes; at least epochs."),
    ] = None
    domain_balanced: Annotated[
        bool, Field(description="A batch of each training domain in every step, drawn with replacement, as DomainBed.")
    ] = False
    augmentation: Annotated[
        Literal["crop", "domainbed", "clipood"],
        Field(description="RandomResizedCrop, bicubic, or the augmentation of DomainBed or CLIPood."),
    ] = "crop"
    schedule: Annotated[
        Literal["cosine", "constant"], Field(description="Learning rate after the warm-up: cosine to 0, or constant.")
    ] = "cosine"

    def __post_init__(self) -> None:
        if self.steps is not None and self.steps < self.epochs:
            raise ValueError(
                f"{self.steps} steps cannot be divided into {self.epochs} parts with a validation each: give at least "
                "as many steps as epochs"
            )

    @property
    def is_drawn(self) -> bool:
        """Whether an epoch is a number of steps instead of one pass over the training set."""
        return self.steps is not None or self.domain_balanced

    def as_dict(self) -> dict[str, Any]:
        """The recipe as JSON values, without what specifications leave out."""
        return without(vars(self), frozen_defaults.TRAINING)

    def images_per_step(self, domains: int) -> int:
        """Images of a full batch. domains: training domains of the task, at least 1."""
        return self.batch_size * (domains if self.domain_balanced else 1)

    def bounds(self, count: int, domains: int = 1) -> list[int]:
        """The step at which each epoch begins, and the number of all steps. count: images of the training set."""
        steps = self.all_steps(count, domains)
        return [epoch * steps // self.epochs for epoch in range(self.epochs + 1)]

    def all_steps(self, count: int, domains: int = 1) -> int:
        """Steps of the whole training."""
        if self.steps is not None:
            return self.steps
        return self.epochs * math.ceil(count / self.images_per_step(domains))

    def images_seen(self, count: int, domains: int = 1) -> int:
        """Images of all steps of the training."""
        if not self.is_drawn:
            return self.epochs * count
        return self.all_steps(count, domains) * self.images_per_step(domains)


@dataclass(frozen=True)
class Reading(Settings):
    """One interpretation of what the paper leaves open (docs/method.md).

    Raises ``UserError`` for an unknown value.
    """

    kl_direction: Annotated[
        KlDirection, Field(description="KL(p_pretrained || p_tuned), KL(p_tuned || p_pretrained), or their mean.")
    ] = "pretrained-to-tuned"
    context_temperature: Annotated[
        float, Field(gt=0, description="tau in softmax(s / tau * v @ W_ctx.T); 1 keeps the logit scale.")
    ] = 1.0
    context_scale: Annotated[
        Literal["pretrained", "one"], Field(description="s is the pretrained logit scale, or 1 (cosine similarity).")
    ] = "pretrained"
    context_templates: Annotated[
        str, Field(description="Bank of the task's card for the context head of the loss.")
    ] = "standard"
    class_head: Annotated[
        ClassHead,
        Field(description="From zero-shot, scale folded in; scale as a constant factor; not trained; or from random."),
    ] = "trained"

    def factors(self) -> dict[str, Any]:
        """Return the factors that differ from the default reading, that of ``frozen_defaults``."""
        return without(vars(self), frozen_defaults.READING)


#: the recipe and the reading of cells that do not depend on them
UNTRAINED_RECIPE, DEFAULT_READING = Training(**frozen_defaults.UNTRAINED), Reading(**frozen_defaults.READING)


class SearchSettings(BaseModel):
    """Keys of a recipe that are options of ``sweep`` and ``plan`` as well."""

    model_config = STRICT

    trials: Annotated[int, Field(ge=1, le=MOST, description="Search trials of each trained method on each task.")]
    seeds: Annotated[int, Field(ge=1, le=MOST, description="Confirm seeds of each winner.")]
    searches: Annotated[
        int,
        Field(
            ge=1, le=MOST, description="Independent searches of each method on each task; 2 or more cover tuning luck."
        ),
    ] = 1
    sampler: Annotated[
        SamplerName | dict[str, Any],
        Field(description="What proposes trials: Sobol points, random draws, or TPE, which learns from results."),
    ] = "sobol"
    """A recipe may also name a class of Optuna with parameters: ``{class: GPSampler, n_startup_trials: 5}``."""
    pruner: Annotated[
        PrunerName,
        Field(description="What stops bad trials after an epoch; not in cells of several workers."),
    ] = "none"
    selection: Annotated[
        Selection,
        Field(description="A winner for each task, or one for a family: that of the best mean validation."),
    ] = "per-task"
    oracle: Annotated[
        bool, Field(description="Also evaluate search cells on the held-out sets, for selection on test.")
    ] = False
