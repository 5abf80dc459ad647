"""Pictures of a report: small files in its folder, made from the data where they are at hand and not private."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from carft.core.errors import UserError
from carft.data.pictures import picture_of
from reports.analysis.disagreements import stable_digest
from reports.evidence.evidence import Evidence
from reports.tables.registry import Tables
from reports.tables.rows import rows_of

FOLDER = "pictures"
#: longest side in pixels, and the quality of the JPEG files
SIDE, QUALITY = 96, 85


@dataclass(frozen=True)
class PictureOptions:
    """Which pictures a report holds, and where the images are."""

    embedded: bool = True
    """Whether there are any."""
    private: Sequence[str] = ()
    """Patterns of tasks, or of images as ``task/image``, whose pictures are never made."""
    root: Path | None = None
    """Data root; None where no data folder is known."""

    def hides(self, task: str, image: str) -> bool:
        """Whether a pattern matches a task, an image or both."""
        return any(fnmatchcase(name, p) for p in self.private for name in (task, image, f"{task}/{image}"))


@dataclass(frozen=True)
class Pictures:
    """The pictures that were written, and why others were not."""

    paths: Sequence[Path]
    missing: Sequence[str]
    """Sentences on images without one: how many are private, and of each task why others could not be read."""


def write_pictures(sources: Tables, options: PictureOptions, folder: Path) -> Pictures:
    """Write the images of the tables ``gallery`` and ``context_images`` as JPEG files of at most 96 pixels.

    folder: of the report; the files go into ``pictures/``. An image that cannot be read is left out.
    """
    if not options.embedded:
        return Pictures((), ())
    target = folder / FOLDER
    paths: dict[str, Path] = {}
    missing: dict[str, str] = {}
    private: set[str] = set()
    withheld = {task.name for task in sources.evidence.archive.named if task.private}
    for row in (row for name in ("gallery", "context_images") for row in rows_of(sources.table(name))):
        shown, image = row["task"], row["image"]
        path = target / f"{picture_name(shown, row['set'], image)}.jpg"
        task = sources.evidence.archive.task(shown)
        if task in withheld or options.hides(shown, image) or options.hides(task, image):
            private.add(path.name)
        if path.name in paths or path.name in private:
            continue
        try:
            pixels = Image.fromarray(_pixels(sources.evidence, row, options.root))
        except UserError as error:
            missing.setdefault(shown, f"{shown} has images without a picture. {error}")
            continue
        target.mkdir(parents=True, exist_ok=True)
        pixels.thumbnail((SIDE, SIDE))
        pixels.save(path, quality=QUALITY)
        paths[path.name] = path
    left_out = [f"{len(private)} private images have no picture."] if options.private or private else []
    return Pictures(list(paths.values()), [*left_out, *missing.values()])


def _pixels(evidence: Evidence, row: Mapping[str, Any], root: Path | None) -> np.ndarray:
    """An image as (H, W, 3) uint8; ``UserError`` unless the data are those that its cells were run on."""
    card = evidence.card(evidence.archive.task(row["task"]))
    versions = {evidence.records[cell].cell.data_version for cell in row["cells"].split()}
    if versions != {card.version}:
        raise UserError("The data here are of another version than those of the cells.")
    return picture_of(card, row["set"], row["image"], root)


def picture_name(task: str, held_out: str, image: str) -> str:
    """Name of a picture's file without ending. It tells nothing of the image."""
    return stable_digest(task, held_out, image)


def read_pictures(paths: Iterable[Path]) -> Mapping[str, str]:
    """Name -> ``data:`` address of pictures."""
    return {p.stem: "data:image/jpeg;base64," + base64.b64encode(p.read_bytes()).decode() for p in paths}
