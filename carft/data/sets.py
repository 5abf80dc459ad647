"""Data sets as they lie on disk: what each is, what it should hold, and where its layout is read. No torch.

A task's card says which data sets it is made of; a data set is what `data ls | check | fetch | fixture` speak of.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from carft.core.errors import UserError


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
class Download:
    """What may be downloaded: address, md5 (empty where none is on record), and the folder under the data root that
    it is unpacked in, or put in when it is a single file."""

    url: str
    md5: str = ""
    into: str = ""

    @property
    def name(self) -> str:
        """The file's name."""
        return self.url.rsplit("/", 1)[-1]


@dataclass(frozen=True)
class DataSet:
    """A data set's entry.

    place: its folder under the data root. classes: class names in label order. counts: split (or domain) -> images
    of the real set. licence, source: for people; source says where it can be had. layout: module with
    ``index(data_set, root) -> dict[split, Index]``, which refuses with a sentence when files are missing, and
    ``fixture(data_set, root)``, which writes a tiny fake tree in the real layout. It may also have
    ``classes(data_set, root) -> list[str]``, the class names that the files themselves give, and
    ``pixels(data_set, root, index)`` -> (N, 3, H, W) uint8, where images are not files of their own: their path then
    is that of a file and a number. digests: file under ``place`` -> md5 or sha256 of the real set's annotation files
    or archives, as far as they are known. version: raised when our reading of the set changes.
    labels: what the set's own files call the classes, in label order; empty: as ``classes``. needs: files and folders
    under ``place`` without which nothing works. archives: what `data fetch` may download. torchvision: name of the
    class that downloads the same; both empty when the set must be got by hand.
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
    labels: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()
    archives: tuple[Download, ...] = ()

    def index(self, root: Path) -> dict[str, Index]:
        """Split (or domain) -> images under ``root``; ``UserError`` when the set is missing or half there."""
        return self._layout("index")(self, root)

    def fixture(self, root: Path) -> None:
        """Write a tiny fake tree in the real layout under ``root``, with a file that says that it is fake."""
        self._layout("fixture")(self, root)

    def found_classes(self, root: Path) -> list[str] | None:
        """The class names that the files under ``root`` give; ``None`` where the layout holds none."""
        found = self._layout("classes", None)
        return None if found is None else found(self, root)

    @property
    def packed(self) -> bool:
        """Whether many images lie in one file."""
        return self._layout("pixels", None) is not None

    def pixels(self, root: Path, index: Index) -> Any:
        """Images of a packed set, (N, 3, H, W) uint8."""
        return self._layout("pixels")(self, root, index)

    def require_present(self, root: Path) -> None:
        """``UserError`` that names the first file or folder of ``needs`` that is not under ``root``. Opens nothing."""
        for need in self.needs:
            if not (root / self.place / need).exists():
                raise self.missing(root, root / self.place / need)

    def missing(self, root: Path, path: Path, more: int = 0) -> UserError:
        """What to say when ``path``, and ``more`` others, are not there: which, how to get the set, its licence."""
        others = f", and {more} more" if more else ""
        state = "is only half here" if (root / self.place).exists() else "is not here"
        fetch = f"Download it with: python cli.py data fetch {self.name} --data {root}. " if self.archives else ""
        return UserError(
            f"The data set {self.name} {state}: there is no '{path}'{others}.",
            f"{fetch}Its source: {self.source}. Licence: {self.licence}.",
        )

    def _layout(self, function: str, *default: Any) -> Any:
        return getattr(importlib.import_module(self.layout), function, *default)
