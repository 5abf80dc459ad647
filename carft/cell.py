"""A cell: one fully specified run. Its id is a hash of exactly that. No torch here."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from functools import cached_property
from typing import Any, Literal

from carft.errors import Refusal

Direction = Literal["pretrained-to-tuned", "tuned-to-pretrained", "symmetric"]
DIRECTIONS: tuple[Direction, ...] = ("pretrained-to-tuned", "tuned-to-pretrained", "symmetric")


#: between the path of a weights file and the sha256 of its content, in ``Cell.pretrained``
DIGEST_MARK = "#sha256:"


@dataclass(frozen=True)
class Reading:
    """One interpretation of what the paper leaves open (docs/method.md). Defaults are the default reading.

    kl_direction: KL(p_pretrained || p_tuned), the reverse, or the mean of both.
    context_temperature: tau in softmax(s / tau * v @ W_ctx.T); 1 keeps the pretrained logit scale.
    """

    kl_direction: Direction = "pretrained-to-tuned"
    context_temperature: float = 1.0

    def __post_init__(self) -> None:
        if self.kl_direction not in DIRECTIONS:
            raise Refusal(f"Unknown KL direction '{self.kl_direction}'.", f"Known: {', '.join(DIRECTIONS)}.")
        require_positive("context temperature", self.context_temperature)


@dataclass(frozen=True)
class Training:
    """The training recipe that a search does not touch.

    epochs: passes over the training set. batch_size: global, whatever the number of workers.
    weight_decay: AdamW's, on every trained tensor. warmup: share of the steps with linearly rising learning rate,
    a cosine follows. clip: largest global gradient norm. crop: smallest area share of RandomResizedCrop.
    """

    epochs: int = 5
    batch_size: int = 32
    weight_decay: float = 0.1
    warmup: float = 0.1
    clip: float = 1.0
    crop: float = 0.9

    def __post_init__(self) -> None:
        for name, value in (("number of epochs", self.epochs), ("batch size", self.batch_size)):
            if value < 1:
                raise Refusal(f"The {name} must be at least 1, not {value}.")
        require_positive("gradient clip", self.clip)
        require_positive("crop", self.crop)
        require_not_negative("weight decay", self.weight_decay)
        if not 0 <= self.warmup < 1:
            raise Refusal(f"The warm-up must lie in [0, 1), not {self.warmup}.")
        if self.crop > 1:
            raise Refusal(f"The crop must lie in (0, 1], not {self.crop}.")


@dataclass(frozen=True)
class Cell:
    """One run: task and data version, model and weights, method, hyperparameters, reading, seed, budget, precision.

    A post-hoc cell has ``parents`` and is named by their ids and its rule alone.
    """

    task: str
    data_version: str
    model: str
    pretrained: str
    method: str
    hyperparameters: Mapping[str, float] = field(default_factory=dict)
    seed: int = 0
    training: Training = field(default_factory=Training)
    reading: Reading = field(default_factory=Reading)
    precision: str = "float32"
    parents: tuple[str, ...] = ()

    @cached_property
    def id(self) -> str:
        """16 hexadecimal digits; 1 and 1.0 give the same id, and so does a reading factor left at its default."""
        spec = self.as_dict()
        if self.parents:
            spec = {key: spec[key] for key in ("method", "parents", "hyperparameters")}
        else:
            plain = asdict(Reading())
            spec["pretrained"] = self.pretrained.rpartition(DIGEST_MARK)[2]  # a file is what is in it, not its path
            spec["reading"] = {k: v for k, v in spec["reading"].items() if v != plain[k]}
        return stable_hash(spec)

    def __hash__(self) -> int:
        return hash(self.id)

    def as_dict(self) -> dict[str, Any]:
        """The whole specification as plain JSON values."""
        spec = asdict(self)
        spec["hyperparameters"] = dict(sorted(self.hyperparameters.items()))
        spec["parents"] = list(self.parents)
        return spec

    @staticmethod
    def from_dict(spec: Mapping[str, Any]) -> Cell:
        """The inverse of :meth:`as_dict`. Unknown keys raise ``Refusal``."""
        known = {f.name for f in fields(Cell)}
        if extra := set(spec) - known:
            raise Refusal(f"A cell has no field {', '.join(sorted(extra))}.", f"Fields: {', '.join(sorted(known))}.")
        values = dict(spec)
        try:
            values["training"] = Training(**values.get("training", {}))
            values["reading"] = Reading(**values.get("reading", {}))
        except TypeError as error:
            raise Refusal(f"A cell cannot be read: {error}.") from error
        values["parents"] = tuple(values.get("parents", ()))
        return Cell(**values)


def stable_hash(value: object) -> str:
    """16 hexadecimal digits of sha256 over canonical JSON in which every number is a float."""
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


def require_positive(name: str, value: float) -> None:
    """Raise ``Refusal`` unless value is finite and above zero."""
    if not (math.isfinite(value) and value > 0):
        raise Refusal(f"The {name} must be a finite number above 0, not {value}.")


def require_not_negative(name: str, value: float) -> None:
    """Raise ``Refusal`` unless value is finite and at least zero."""
    if not (math.isfinite(value) and value >= 0):
        raise Refusal(f"The {name} must be a finite number of at least 0, not {value}.")
