"""Data sets on disk: their catalog entries. A subclass of :class:`DataSet` reads the files of a layout. No torch.

A task's card names the data sets that it is made of. The commands ``ls data`` and ``data check``
work on data sets.
"""

from __future__ import annotations

import colorsys
import hashlib
import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from PIL import Image

from carft.core.errors import UserError, typed
from carft.data.card import Card
from carft.data.decoding import decode_pixels
from carft.data.index import Index
from carft.data.shards import shards_in

if TYPE_CHECKING:
    from carft.data.task import ImageSet

#: marks a folder as a fixture; the loader of the real set reads it, but it is never attested
MARKER = "carft-fixture.json"
#: split or domain -> images
Splits = Mapping[str, Index]
GOLDEN = 0.61803398875  # steps of the golden ratio give neighbouring labels different hues


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
    listing: str = ""
    """Digest of names and sizes of all images of the real set, as of :func:`carft.data.indexing.digest_of`; empty if
    none is on record."""
    listing_from: str = ""
    """Where the copy was had that the listing is of."""
    labels: tuple[str, ...] = ()
    """Class names in the set's own files, in label order; empty if they equal ``classes``."""
    needs: tuple[str, ...] = ()
    """Required files and folders, relative to the folder. An index is made again when one of these files changes."""
    table: str = ""
    """File in the folder that lists the images; empty where the layout does."""
    archives: tuple[Download, ...] = ()
    """What ``data check --fetch`` downloads; empty if the set must be obtained by hand."""
    validation: float = 0.1
    """Share of the groups of each class that is held out of training images where there is no split ``val``."""
    border: int = 0
    """Pixels that are cut from every side of an image."""
    domains: tuple[str, ...] = ()
    """The domains, whose positions are the contexts of images; empty for a set without domains."""

    @property
    def reading(self) -> list[str]:
        """What of the project decides what is listed of the set, beside its files."""
        labels = hashlib.sha256(json.dumps([self.labels, self.classes]).encode()).hexdigest()
        return [self.name, self.version, labels]

    @property
    def origin(self) -> str:
        """Source and licence, as sentences."""
        return f"Its source: {self.source}. Licence: {self.licence}."

    def card(self, **facts: Any) -> Card:
        """Return the card of a task that is trained on this set at paper scale. facts: its other fields."""
        own = {
            "name": self.name,
            "measures": self.measures,
            "classes": self.classes,
            "licence": self.licence,
            "source": self.source,
            "folder": self.folder,
            "data_sets": (self.name,),
        }
        return Card(**{**own, **facts}, scale="paper", group="image", loader="")

    def listed(self, root: Path) -> dict[str, Index]:
        """Return split or domain -> images of a set that is there. Raises ``UserError`` if it is incomplete."""
        raise NotImplementedError

    def divided(self, splits: Mapping[str, Index], split: str, holdout: str) -> tuple[Index, Index]:
        """Return training and validation images of a split. splits: all of the set. holdout: as of a cell."""
        if "val" in splits:
            return splits[split], splits["val"]
        return hold_out(splits[split], self.validation)

    def images(self, parts: Splits) -> ImageSet:
        """Return these images of the set."""
        from carft.data.task import ImageSet

        names, contexts = [], []
        for split, part in parts.items():
            names.append(self.names(split, part))
            contexts.append(self.domains.index(split) if split in self.domains else -1)
        pixels = None
        if self.packed:
            pixels = self.pixels(Index.of([*parts.values()]).paths)
        return ImageSet.of([*parts.values()], names, contexts, self.border, pixels)

    def pixels(self, paths: Sequence[Path]) -> np.ndarray:
        """Return images of a packed set, (N, 3, H, W) uint8 RGB."""
        raise NotImplementedError

    def names(self, split: str, part: Index) -> Sequence[str]:
        """Return what images of a split are called in predictions."""
        return part.groups

    def picture(self, path: Path) -> np.ndarray:
        """Return an image as (H, W, 3) uint8 RGB. Raises ``UserError`` if it cannot be read."""
        return decode_pixels(path, self.border)

    def draw(self, root: Path) -> None:
        """Fill the folder of a fixture with a small fake tree in the real layout."""
        raise NotImplementedError

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
        folder = root / self.folder
        note = {"fixture": self.name, "note": "Drawn by carft in the layout of the real set. No image here is real."}
        try:
            folder.mkdir(parents=True, exist_ok=True)
            if not is_fixture(folder) and any(folder.iterdir()):  # fixtures and real images must not mix
                hint = "Give --data a folder without this data set."
                raise UserError(f"'{folder}' holds files and is not a fixture.", hint)
            (folder / MARKER).write_text(json.dumps(note, indent=1), encoding="utf-8")
        except OSError as error:
            hint = "Give --data another folder."
            raise UserError(f"'{folder}' cannot be written: {error.strerror}.", hint) from error
        self.draw(root)

    def require_present(self, root: Path) -> None:
        """Raise ``UserError`` if a file or folder of ``needs`` does not exist, or a shard is not whole."""
        if shards_in(root / self.folder) is not None:
            return
        for need in self.needs:
            if not (root / self.folder / need).exists():
                raise self.missing(root, root / self.folder / need)

    def missing(self, root: Path, path: Path) -> UserError:
        """Return the error for a missing file or folder."""
        state = "is incomplete" if (root / self.folder).exists() else "is not here"
        hint = self.origin
        if self.archives:
            hint = f"Download it with: {typed('data', 'check', self.name, '--fetch', '--data', str(root))}. {hint}"
        return UserError(f"The data set {self.name} {state}: there is no '{path}'.", hint)


def hold_out(index: Index, share: float) -> tuple[Index, Index]:
    """Return (train, val). ``val`` gets the ``share`` of groups of each class with the lowest sha256 of their name.

    At least one group of a class is held out. All images of a group are on one side, across classes too. The choice
    depends on names only.
    """
    classes: dict[int, set[str]] = defaultdict(set)
    for label, group in zip(index.labels, index.groups, strict=True):
        classes[label].add(group)
    held_out: set[str] = set()
    for groups in classes.values():
        by_hash = sorted(groups, key=lambda name: hashlib.sha256(name.encode()).hexdigest())
        held_out.update(by_hash[: max(1, round(share * len(groups)))])
    train_rows, val_rows = [], []
    for row, group in enumerate(index.groups):
        if group in held_out:
            val_rows.append(row)
        else:
            train_rows.append(row)
    return index.rows(train_rows), index.rows(val_rows)


# fixtures: fake images in the real layout of a data set, with a marker file


def picture(label: int, domain: int = 0, number: int = 0, side: int = 32) -> Image.Image:
    """Return an RGB drawing (side, side) of stripes. The same arguments give the same pixels.

    The label sets hue and direction, the domain sets width and background, the number sets offset and noise.
    """
    rng = np.random.default_rng([label, domain, number])
    angle = np.pi * ((label * GOLDEN) % 1)
    y, x = np.mgrid[0:side, 0:side] / side
    waves = np.sin(2 * np.pi * (2 + domain % 4) * (x * np.cos(angle) + y * np.sin(angle)) + 2 * np.pi * rng.random())
    colour = np.array(colorsys.hsv_to_rgb((label * GOLDEN) % 1, 0.9, 0.9))
    background = np.array(colorsys.hsv_to_rgb((domain * GOLDEN + 0.5) % 1, 0.3, 0.2 + 0.6 * (domain % 2)))
    pixels = np.where(waves[..., None] > 0, colour, background) + rng.normal(0, 0.04, (side, side, 3))
    return Image.fromarray((np.clip(pixels, 0, 1) * 255).round().astype(np.uint8))


def is_fixture(folder: Path) -> bool:
    """Return whether the folder is marked as a fixture."""
    return (folder / MARKER).is_file()
