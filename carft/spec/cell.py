"""Cells: fully specified runs with an id that is a hash of the specification. No torch."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from functools import cached_property
from typing import Any, Literal, TypedDict, get_args

from carft.core.errors import UserError
from carft.spec.training import Training, require_choices, require_positive, without_defaults
from carft.spec.weights import id_form, record_form

__all__ = ["Cell", "Reading", "Training"]

Direction = Literal["pretrained-to-tuned", "tuned-to-pretrained", "symmetric"]
DIRECTIONS: tuple[Direction, ...] = get_args(Direction)
ContextScale = Literal["pretrained", "one"]
ClassHead = Literal["trained", "scale-outside", "frozen", "random"]

#: reading factor -> allowed values, the default first; other factors take any value of their type
READINGS: Mapping[str, tuple[str, ...]] = {
    "kl_direction": DIRECTIONS,
    "context_scale": get_args(ContextScale),
    "class_head": get_args(ClassHead),
}
PRECISIONS = ("float32", "bfloat16", "tf32", "float16")
#: of these the ones in which what a step keeps has 16 bits
HALF_PRECISIONS = ("bfloat16", "float16")
#: optional fields of a cell -> allowed values, the default first; a cell that uses none has the id of one without them
PROTOCOLS: dict[str, tuple[str, ...]] = {
    "eval_view": ("centre", "centre-bilinear", "stretch"),
    "holdout": ("stable", "domainbed"),
    "target_split": ("all", "in", "out"),
}


class ProtocolFields(TypedDict, total=False):
    """The optional fields of a cell; see :class:`Cell`."""

    eval_view: str
    holdout: str
    target_split: str


@dataclass(frozen=True)
class Reading:
    """One interpretation of what the paper leaves open (docs/method.md). The defaults are the default reading.

    Raises ``UserError`` for an unknown value.
    """

    kl_direction: Direction = "pretrained-to-tuned"
    """KL(p_pretrained || p_tuned), KL(p_tuned || p_pretrained), or their mean."""
    context_temperature: float = 1.0
    """tau in softmax(s / tau * v @ W_ctx.T), above 0; 1 keeps the logit scale."""
    context_scale: ContextScale = "pretrained"
    """s is the pretrained logit scale, or 1 (cosine similarity; the KL is then close to 0)."""
    context_templates: str = "standard"
    """Bank of the task's card for the context head of the loss."""
    class_head: ClassHead = "trained"
    """``trained``: starts at zero-shot with the scale folded in, has a bias. ``scale-outside``: the scale is a constant
    factor. ``frozen``: stays at zero-shot. ``random``: PyTorch's default for a linear layer, from the cell's seed."""

    def __post_init__(self) -> None:
        for name, known in READINGS.items():
            if getattr(self, name) not in known:
                raise UserError(
                    f"Unknown {name.replace('_', ' ')} '{getattr(self, name)}'.", f"Known: {', '.join(known)}."
                )
        require_positive("context temperature", self.context_temperature)

    def factors(self) -> dict[str, Any]:
        """Return the factors that differ from the default reading."""
        return {f.name: value for f in fields(self) if (value := getattr(self, f.name)) != f.default}


@dataclass(frozen=True)
class Cell:
    """One fully specified run. Raises ``UserError`` for an unknown precision."""

    task: str
    data_version: str
    """Version of the task's data, from its card."""
    model: str
    pretrained: str
    """Weights: a tag, or a file's path or name with the sha256 of its content."""
    method: str
    hyperparameters: Mapping[str, float] = field(default_factory=dict)
    seed: int = 0
    """In [0, 2**32)."""
    training: Training = field(default_factory=Training)
    reading: Reading = field(default_factory=Reading)
    precision: str = "float32"
    """Precision of the forward and backward pass. ``tf32``: float32 with TensorFloat-32 products on a GPU. ``float16``:
    the loss is scaled so that gradients do not vanish. Weights, optimiser and evaluation logits are float32."""
    eval_view: str = "centre"
    """View of evaluated images. ``centre``: CLIP's, shorter side to the model's side, bicubic, centre square.
    ``centre-bilinear``: the same, bilinear (CLIPood). ``stretch``: all of the image to a square, bilinear
    (DomainBed)."""
    holdout: str = "stable"
    """How validation images of a task with several training domains are held out: by a stable hash of their names, a
    share of each class; or as in DomainBed's code, a random fifth of each domain, its trial seed being 0."""
    target_split: str = "all"
    """Images of the held-out domain that are evaluated: all, or one side of DomainBed's split of it, ``in`` (80 %,
    which DomainBed reports) or ``out`` (20 %, which CLIPood reports)."""
    parents: tuple[str, ...] = ()
    """Ids of the combined cells of a post-hoc cell, whose id depends on them and its hyperparameters only."""
    plugin: str = ""
    """Digests of the source of method and task, as far as they are no part of this package; else empty."""

    def __post_init__(self) -> None:
        if self.precision not in PRECISIONS:
            raise UserError(f"There is no precision '{self.precision}'.", f"Known: {', '.join(PRECISIONS)}.")
        require_choices(self, PROTOCOLS)
        if self.target_split != "all" and self.holdout != "domainbed":
            raise UserError(
                f"--target-split {self.target_split} needs --holdout domainbed, not '{self.holdout}'.",
                "Give --holdout domainbed, or leave --target-split out.",
            )

    @cached_property
    def id(self) -> str:
        """16 hexadecimal digits. 1 and 1.0 give the same id. Reading factors at their default do not count."""
        spec = self.as_dict()
        if self.parents:
            spec = {key: spec[key] for key in ("method", "parents", "hyperparameters")}
        else:
            spec["model"], spec["pretrained"] = id_form(self.model, self.pretrained)
            spec["task"] = task_key(self.task)
            spec["reading"] = self.reading.factors()
        return stable_hash(spec)

    def __hash__(self) -> int:
        return hash(self.id)

    def as_dict(self) -> dict[str, Any]:
        """Return the specification as JSON values, without optional fields at their default."""
        spec = without_defaults(self, (*PROTOCOLS, "plugin"))
        spec["hyperparameters"] = dict(sorted(self.hyperparameters.items()))
        spec["parents"] = list(self.parents)
        spec["training"], spec["reading"] = self.training.as_dict(), dict(vars(self.reading))
        return spec

    def record_form(self) -> dict[str, Any]:
        """Return the specification as records hold it: as :meth:`as_dict`, without the path of weights."""
        model, pretrained = record_form(self.model, self.pretrained)
        return {**self.as_dict(), "model": model, "pretrained": pretrained}

    @staticmethod
    def from_dict(spec: Mapping[str, Any]) -> Cell:
        """Return the cell of a specification. Raises ``UserError`` for unknown keys and values of the wrong type."""
        known = {f.name for f in fields(Cell)}
        if extra := set(spec) - known:
            raise UserError(f"A cell has no field {', '.join(sorted(extra))}.", f"Fields: {', '.join(sorted(known))}.")
        values = dict(spec)
        try:
            values["training"] = Training(**values.get("training", {}))
            values["reading"] = Reading(**values.get("reading", {}))
        except TypeError as error:
            raise UserError(f"A cell cannot be read: {error}.") from error
        values["parents"] = tuple(values.get("parents", ()))
        cell = Cell(**values)
        _require_types(cell)
        return cell


def _require_types(cell: Cell) -> None:
    """Raise ``UserError`` for a name that is not a string or a number that is not numeric."""
    names = (cell.task, cell.data_version, cell.model, cell.pretrained, cell.method, cell.plugin, *cell.parents)
    steps = [] if cell.training.steps is None else [cell.training.steps]
    numbers = [*cell.hyperparameters.values(), cell.training.epochs, cell.training.batch_size, *steps, cell.seed]
    if not all(isinstance(name, str) for name in (*names, *cell.hyperparameters)):
        raise UserError("A cell cannot be read: a name in it is not a string.")
    if not all(isinstance(number, int | float) and not isinstance(number, bool) for number in numbers):
        raise UserError("A cell cannot be read: a number in it is not numeric.")


def task_key(task: str) -> str:
    """Return a task's name without the path of your own data, since the data version identifies the content."""
    if not task.startswith("folder:"):
        return task
    _, mark, options = task.rpartition("?")
    return f"folder:{options if mark else ''}"


def stable_hash(value: object) -> str:
    """Return 16 hexadecimal digits of sha256 over canonical JSON in which every number is a float."""
    text = json.dumps(_canonical(value), sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _canonical(value: object) -> object:
    if isinstance(value, bool) or value is None or isinstance(value, str):
        return value
    if isinstance(value, int | float):
        return repr(float(value) + 0.0)  # so that -0.0 is 0.0
    if isinstance(value, Mapping):
        return {str(k): _canonical(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_canonical(v) for v in value]
    raise TypeError(f"{type(value).__name__} has no canonical form")
