"""Data sets as they lie on disk: what each is, what it should hold, and where its layout is read. No torch.

A task's card says which data sets it is made of; a data set is what `data ls | check | fetch | fixture` speak of.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Index:
    """The images of one split (or domain): files in a fixed order, labels, and the resampling unit of each.

    labels: position in the data set's class list. groups: usually the file's name; images of one scene, person or
    camera sequence share one.
    """

    paths: tuple[Path, ...]
    labels: tuple[int, ...]
    groups: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.paths)

    def rows(self, index: Sequence[int]) -> Index:
        """The images of these rows, in this order."""
        return Index(
            tuple(self.paths[i] for i in index),
            tuple(self.labels[i] for i in index),
            tuple(self.groups[i] for i in index),
        )


@dataclass(frozen=True)
class DataSet:
    """A data set's entry.

    place: its folder under the data root. classes: class names in label order. counts: split (or domain) -> images
    of the real set. licence, source: for people; source says where it can be had. layout: module with
    ``index(data_set, root) -> dict[split, Index]``, which refuses with a sentence when files are missing, and
    ``fixture(data_set, root)``, which writes a tiny fake tree in the real layout. digests: file under ``place`` ->
    sha256 of the real set's annotation files or archives, as far as they are known. version: raised when our reading
    of the set changes. torchvision: name of the class that may download it; empty when it must be got by hand.
    """

    name: str
    place: str
    measures: str
    classes: tuple[str, ...]
    counts: Mapping[str, int]
    licence: str
    source: str
    layout: str
    version: str = "1"
    digests: Mapping[str, str] = field(default_factory=dict)
    torchvision: str = ""

    def index(self, root: Path) -> dict[str, Index]:
        """Split (or domain) -> images under ``root``; ``Refusal`` when the set is missing or half there."""
        return self._layout("index")(self, root)

    def fixture(self, root: Path) -> None:
        """Write a tiny fake tree in the real layout under ``root``, with a file that says that it is fake."""
        self._layout("fixture")(self, root)

    def _layout(self, function: str) -> Any:
        return getattr(importlib.import_module(self.layout), function)
