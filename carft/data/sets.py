"""Data sets on disk: their catalog entries. A subclass of :class:`DataSet` reads the files of a layout. No torch.

A task's card names the data sets that it is made of. The commands ``data ls``, ``check``, ``fetch`` and ``fixture``
work on data sets.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from carft.core.commands import typed
from carft.core.errors import UserError
from carft.data.card import Card
from carft.data.columns import rows_of
from carft.data.fixtures import begin


@dataclass(frozen=True)
class Index:
    """The images of one split or domain, in a fixed order."""

    paths: Sequence[Path]
    labels: tuple[int, ...]
    """Positions in the class list of the data set."""
    groups: Sequence[str]
    """Resampling unit of each image, usually its file name. Images of one scene or person share one."""

    def __len__(self) -> int:
        return len(self.paths)

    def rows(self, index: Sequence[int]) -> Index:
        """Return the images of these rows, in this order."""
        labels = tuple(self.labels[i] for i in index)
        return Index(rows_of(self.paths, index), labels, rows_of(self.groups, index))


def concatenation(parts: Sequence[Index]) -> Index:
    """Return the images of all parts, one after the other."""
    return Index(*(tuple(x for part in parts for x in getattr(part, f)) for f in ("paths", "labels", "groups")))


@dataclass(frozen=True)
class Download:
    """A file that may be downloaded."""

    url: str
    md5: str = ""
    """Expected digest; empty if none is known."""
    into: str = ""
    """Folder under the data root where the archive is unpacked or the single file is stored."""

    @property
    def name(self) -> str:
        """The file name in the URL."""
        return self.url.rsplit("/", 1)[-1]


@dataclass(frozen=True, eq=False)
class DataSet:
    """A data set's entry in the catalog. A subclass reads its files."""

    packed: ClassVar[bool] = False
    """Whether one file holds many images. The path of such an image is its file and a number."""

    name: str
    folder: str
    """Folder under the data root."""
    measures: str
    """One line about the data set, for people."""
    classes: tuple[str, ...]
    """Class names as words, in label order."""
    counts: Mapping[str, int]
    """Split or domain -> images of the real set."""
    licence: str
    source: str
    """Where the set can be obtained."""
    version: str = "1"
    """Raised when this project reads the set differently."""
    digests: Mapping[str, str] = field(default_factory=dict)
    """File in the folder -> md5 or sha256 of the real set's annotation file or archive, as far as known."""
    labels: tuple[str, ...] = ()
    """Class names in the set's own files, in label order; empty if they equal ``classes``."""
    needs: tuple[str, ...] = ()
    """Required files and folders, relative to the folder. An index is made again when one of these files changes."""
    table: str = ""
    """File in the folder that lists the images; empty where the layout does."""
    archives: tuple[Download, ...] = ()
    """What ``data fetch`` downloads; empty if the set must be obtained by hand."""

    def card(self, **facts: Any) -> Card:
        """Return the card of a task that is trained on this set at paper scale. facts: its other fields."""
        own = {"name": self.name, "measures": self.measures, "data_sets": (self.name,)}
        same = {name: getattr(self, name) for name in ("classes", "licence", "source", "folder")}
        return Card(**{**own, **same, **facts}, scale="paper", group="image", loader="")

    def listed(self, root: Path) -> dict[str, Index]:
        """Return split or domain -> images of a set that is there. Raises ``UserError`` if it is incomplete."""
        raise NotImplementedError

    def draw(self, root: Path) -> None:
        """Fill the folder of a fixture with a small fake tree in the real layout."""
        raise NotImplementedError

    def found_classes(self, root: Path) -> list[str] | None:
        """Return the class names found in the files under ``root``; None if the layout holds none."""
        return None

    def index(self, root: Path) -> dict[str, Index]:
        """Return split or domain -> images. Raises ``UserError`` if the set is missing or incomplete."""
        self.require_present(root)
        return self.listed(root)

    def listed_with_facts(self, root: Path) -> tuple[dict[str, Index], dict[str, Any]]:
        """Return what :meth:`index` does, and other facts, JSON values, that an index file keeps."""
        return self.index(root), {}

    def fixture(self, root: Path) -> None:
        """Write a small fake tree in the real layout under ``root``, with a marker file.

        Raises ``UserError`` if the folder holds other files or cannot be written.
        """
        begin(root / self.folder, self.name)
        self.draw(root)

    def require_present(self, root: Path) -> None:
        """Raise ``UserError`` if a file or folder of ``needs`` does not exist. Opens no file."""
        for need in self.needs:
            if not (root / self.folder / need).exists():
                raise self.missing(root, root / self.folder / need)

    def missing(self, root: Path, path: Path, more: int = 0) -> UserError:
        """Return the error for a missing ``path`` and ``more`` other missing files."""
        others = f", and {more} more" if more else ""
        state = "is incomplete" if (root / self.folder).exists() else "is not here"
        command = typed("data", "fetch", self.name, "--data", str(root))
        fetch = f"Download it with: {command}. " if self.archives else ""
        return UserError(
            f"The data set {self.name} {state}: there is no '{path}'{others}.",
            f"{fetch}Its source: {self.source}. Licence: {self.licence}.",
        )
