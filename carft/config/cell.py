"""Cells: fully specified runs with an id that is a hash of the specification, and how they name weights. No torch."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import field, fields
from functools import cached_property, lru_cache
from pathlib import PurePath
from sys import intern
from typing import Annotated, Any, TypeVar

from pydantic import Field
from pydantic.dataclasses import dataclass

from carft.config import frozen_defaults
from carft.config.settings import ProtocolSettings, Reading, Training
from carft.core.declaration import Settings, without
from carft.core.errors import UserError

Group = TypeVar("Group", Training, Reading)
#: between the path or name of a weights file and the sha256 of its content, in ``Cell.pretrained``
DIGEST_MARK = "#sha256:"
#: what a model that is a folder begins with, in ``Cell.model``
LOCAL_DIR = "local-dir:"
#: what specifications leave out of the fields of a cell
LEFT_OUT = {**frozen_defaults.PROTOCOL, "plugin": ""}


@dataclass(frozen=True)
class Cell(Settings, ProtocolSettings):
    """One fully specified run. Raises ``UserError`` for a value that is not allowed."""

    task: str
    data_version: str
    """Version of the task's data, from its card."""
    model: str
    pretrained: str
    """Weights: a tag, or a file's path or name with the sha256 of its content."""
    method: str
    hyperparameters: Mapping[str, float] = field(default_factory=dict)
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0
    training: Training = field(default_factory=Training)
    reading: Reading = field(default_factory=Reading)
    parents: tuple[str, ...] = ()
    """Ids of the combined cells of a post-hoc cell, whose id depends on them and its hyperparameters only."""
    plugin: str = ""
    """Digests of the source of method and task, as far as they are no part of this package; else empty."""

    def __post_init__(self) -> None:
        if self.target_split != "all" and self.holdout != "domainbed":
            raise UserError(
                f"--target-split {self.target_split} needs --holdout domainbed, not '{self.holdout}'.",
                "Give --holdout domainbed, or leave --target-split out.",
            )

    @cached_property
    def id(self) -> str:
        """16 hexadecimal digits. 1 and 1.0 give the same id. Factors of the default reading do not count."""
        spec = self.as_dict()
        if self.parents:
            spec = {key: spec[key] for key in ("method", "parents", "hyperparameters")}
        else:
            spec["model"], spec["pretrained"] = id_form(self.model, self.pretrained)
            spec["task"] = task_key(self.task)
            spec["reading"] = self.reading.factors()
        return stable_hash(spec)

    @property
    def sources(self) -> list[str]:
        """The digests in ``plugin``; none for a method and task of this package."""
        return self.plugin.split("+") if self.plugin else []

    def __hash__(self) -> int:
        return hash(self.id)

    def as_dict(self) -> dict[str, Any]:
        """Return the specification as JSON values, without what ``frozen_defaults`` says of the fields left out."""
        spec = without({one.name: getattr(self, one.name) for one in fields(self)}, LEFT_OUT)
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
        """Return the cell of a specification. What it leaves out is as in ``frozen_defaults``.

        Raises ``UserError`` for unknown keys and values of the wrong type.
        """
        try:
            training = _shared(Training, json.dumps({**frozen_defaults.UNTRAINED, **spec.get("training", {})}))
            reading = _shared(Reading, json.dumps({**frozen_defaults.READING, **spec.get("reading", {})}))
            parents = tuple(spec.get("parents", ()))
        except TypeError as error:
            raise UserError(f"A cell cannot be read: {error}.") from error
        texts = {name: intern(value) for name, value in spec.items() if isinstance(value, str)}
        settings = {"training": training, "reading": reading, "parents": parents}
        return Cell(**{**frozen_defaults.STUDY, **spec, **texts, **settings})


@lru_cache(maxsize=4096)
def _shared(kind: type[Group], text: str) -> Group:
    """Settings from their JSON: one object for all cells that have the same, which saves memory."""
    return kind(**json.loads(text))


def task_key(task: str) -> str:
    """Return a task's name without the path of your own data, since the data version identifies the content."""
    if not task.startswith("folder:"):
        return task
    _, mark, options = task.rpartition("?")
    return f"folder:{options if mark else ''}"


_encoder = json.JSONEncoder(sort_keys=True, separators=(",", ":"), allow_nan=False)


def stable_hash(value: object) -> str:
    """Return 16 hexadecimal digits of sha256 over canonical JSON in which every number is a float."""
    return intern(hashlib.sha256(_encoder.encode(_canonical(value)).encode()).hexdigest()[:16])


def _canonical(value: object) -> object:
    match value:
        case str() | bool() | None:
            return value
        case int() | float():
            return repr(float(value) + 0.0)  # so that -0.0 is 0.0
        case dict() | Mapping():
            return {str(k): _canonical(v) for k, v in value.items()}
        case list() | tuple():
            return [_canonical(v) for v in value]
    raise TypeError(f"{type(value).__name__} has no canonical form")


# weights that are a file or a folder: how records name them, what ids count of them, and where they lie


def record_form(model: str, pretrained: str) -> tuple[str, str]:
    """Model and weights as records name them: a file or folder by its name and digest, not by its path.

    A folder whose weights have no digest keeps its path, since nothing else identifies it.
    """
    path, mark, digest = pretrained.partition(DIGEST_MARK)
    if not mark:
        return model, pretrained
    if model.startswith(LOCAL_DIR):
        model = path = model_by_name(model)
    return model, f"{PurePath(path).name}{mark}{digest}"


def display_form(model: str, pretrained: str) -> tuple[str, str]:
    """Model and weights as a report names them: of a file or folder its name, of a file also its digest."""
    path, mark, digest = pretrained.partition(DIGEST_MARK)
    if mark:
        pretrained = f"{PurePath(path).name} {mark.lstrip('#')}{digest[:8]}"
    return model_by_name(model), pretrained


def id_form(model: str, pretrained: str) -> tuple[str, str]:
    """Model and weights as ids count them: a file by its digest, a model folder by the digest of its weights."""
    return "local-dir" if model.startswith(LOCAL_DIR) else model, pretrained.rpartition(DIGEST_MARK)[2]


def path_in(model: str, pretrained: str) -> str:
    """The path of a file or folder that the names of model and weights hold; empty when they hold none."""
    path = pretrained.partition(DIGEST_MARK)[0].removeprefix(LOCAL_DIR)
    is_file = DIGEST_MARK in pretrained or model.startswith(LOCAL_DIR)
    return path if is_file and PurePath(path).name != path else ""


def weights_place_of(cell: Cell) -> dict[str, str]:
    """Digest -> path of a cell's weights; empty unless they are a file or folder that it holds the path of."""
    path, digest = path_in(cell.model, cell.pretrained), cell.pretrained.partition(DIGEST_MARK)[2]
    return {digest: path} if path and digest else {}


def located(model: str, pretrained: str, places: Mapping[str, str]) -> tuple[str, str]:
    """Model and weights with the path of their file or folder, where it is known. places: digest -> path."""
    path, mark, digest = pretrained.partition(DIGEST_MARK)
    if digest not in places or path_in(model, pretrained):
        return model, pretrained
    if model.startswith(LOCAL_DIR):
        model = path = f"{LOCAL_DIR}{places[digest]}"
    else:
        path = places[digest]
    return model, f"{path}{mark}{digest}"


def model_by_name(model: str) -> str:
    """A model without the path of its folder, if it is one."""
    return LOCAL_DIR + PurePath(model.removeprefix(LOCAL_DIR)).name if model.startswith(LOCAL_DIR) else model
