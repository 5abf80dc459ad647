"""Trees of class folders, <folder>/<class>/<image file>. No torch."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from PIL import ImageOps

from carft.core.errors import UserError
from carft.core.files import require_utf8
from carft.core.heartbeat import heartbeat
from carft.data.index import Index
from carft.data.sets import DataSet, picture

#: file name extensions of images, in lower case
IMAGES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm", ".pgm")
#: what to do with images of other formats
CONVERT = f"Images end in {', '.join(IMAGES)}. Convert others, such as .heic, to JPEG or PNG."


def entries_of(folder: Path) -> list[os.DirEntry[str]]:
    """Return the entries of a folder by name, without hidden ones.

    Raises ``UserError`` for a folder that cannot be read and for a name that is not UTF-8.
    """
    heartbeat()
    try:
        with os.scandir(folder) as entries:
            shown = [entry for entry in entries if not entry.name.startswith(".")]
    except OSError as error:
        raise UserError(
            f"The folder '{folder}' cannot be read: {error.strerror}.", "Allow it with chmod, or move the folder away."
        ) from error
    for entry in shown:
        if not entry.name.isascii():
            require_utf8(entry.path)
    return sorted(shown, key=lambda entry: entry.name)


def folder_names(folder: Path) -> list[str]:
    """Return the names of the folders in a folder, sorted, without hidden ones."""
    return [entry.name for entry in entries_of(folder) if entry.is_dir()]


#: side of the drawings of a fixture in pixels
SIDE = 16


@dataclass(frozen=True)
class TreePart:
    """A split or domain of a tree."""

    folder: str
    """Folder of the class folders, in that of the data set."""
    count: int
    """Images of the real set."""
    prompt: str = ""
    """Prompt of the domain; empty for a split."""


@dataclass(frozen=True, eq=False)
class Tree(DataSet):
    """A data set whose class folders are called as its ``labels``."""

    parts: Mapping[str, TreePart] = field(default_factory=dict)
    """Split or domain -> where it lies."""
    other_folders: bool = False
    """Whether other folders may lie beside those of the classes; they are not read."""
    by_file: bool = False
    """Whether copies of one image in two classes are one group, named <file>; a group is else one image, named
    <class>/<file>."""

    def listed(self, root: Path) -> dict[str, Index]:
        """Return split or domain -> images, class by class.

        Raises ``UserError`` for a folder of no class, and for a class without an image.
        """
        return {name: self._images_in(root / self.folder / part.folder) for name, part in self.parts.items()}

    def _images_in(self, folder: Path) -> Index:
        present = set(folder_names(folder))
        extra = sorted(present - set(self.labels))
        if extra and not self.other_folders:
            raise UserError(
                f"{self.name} has {len(self.labels)} classes, and '{folder}' holds {len(present)} folders: "
                f"'{extra[0]}' is not one of its classes.",
                "Move that folder away, or unpack the set again.",
            )
        paths: list[Path] = []
        labels, groups, empty = [], [], []
        for label, name in enumerate(self.labels):
            entries = entries_of(folder / name) if name in present else []
            found = len(paths)
            for entry in entries:
                if entry.name.lower().endswith(IMAGES):
                    paths.append(folder / name / entry.name)
                    labels.append(label)
                    groups.append(entry.name if self.by_file else f"{name}/{entry.name}")
            if len(paths) == found:
                empty.append(name)
        if empty:
            raise UserError(
                f"{self.name} is incomplete: {len(empty)} of its {len(self.labels)} class folders in '{folder}' are "
                f"missing or hold no image, '{empty[0]}' first.",
                f"Get it again. {self.origin}",
            )
        return Index(tuple(paths), tuple(labels), tuple(groups))

    def draw(self, root: Path) -> None:
        for place, (split, part) in enumerate(self.parts.items()):
            for label, name in enumerate(self.labels):
                folder = root / self.folder / part.folder / name
                folder.mkdir(parents=True, exist_ok=True)
                for number in range(1 if split == "test" else 2):  # of two for training, one can be held out
                    image = ImageOps.expand(picture(label, place, number, SIDE), self.border, "red")
                    image.save(folder / f"{split}_{label:04d}_{number}.png")


def laid_out(facts: Mapping[str, Any], words: Mapping[str, str]) -> dict[str, Any]:
    """Return the fields of a tree by its facts. words: class folder -> words, in label order."""
    parts = {split: TreePart(**part) for split, part in facts["parts"].items()}
    return {
        **facts,
        "parts": parts,
        "counts": {split: part.count for split, part in parts.items()},
        "needs": tuple(part.folder for part in parts.values()),
        "labels": tuple(words),
        "classes": tuple(words.values()),
    }
