"""Pictures of a report: files made from the data that are at hand and not private, and what the page says of them."""

from __future__ import annotations

import base64
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from posixpath import normpath
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

from carft.core.errors import UserError
from reports.analysis.disagreements import stable_digest
from reports.evidence.evidence import COMPARED, label
from reports.evidence.scopes import model_words
from reports.tables.table import Sources, TableRow, rows_of
from reports.words.figures_words import picture_words, prompt_words

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
        """Whether a pattern matches a task, an image or both. ``./a`` and ``b/../a`` are ``a``."""
        image = normpath(image)
        for pattern in map(normpath, self.private):
            if fnmatchcase(task, pattern) or fnmatchcase(image, pattern) or fnmatchcase(f"{task}/{image}", pattern):
                return True
        return False


def write_pictures(sources: Sources, options: PictureOptions, folder: Path) -> tuple[list[Path], list[str]]:
    """Write the images of the tables ``gallery`` and ``context_images`` as JPEG files of at most 96 pixels.

    folder: of the report; the files go into ``pictures/``. Returns their paths, and why images have none.
    """
    if not options.embedded:
        return [], []
    withheld = set()
    for task in sources.evidence.archive.catalog.own.named.values():
        if task.private:
            withheld.add(task.name)
    paths: list[Path] = []
    private = 0
    unread: dict[str, str] = {}
    for name, row in _shown_images(sources).items():
        if row["task"] in withheld or options.hides(row["task"], row["image"]):
            private += 1
            continue
        try:
            pixels = _pixels(sources, row, options.root)
        except UserError as error:
            unread.setdefault(row["task"], f"{row['task']} has images without a picture. {error}")
            continue
        paths.append(folder / FOLDER / f"{name}.jpg")
        paths[-1].parent.mkdir(parents=True, exist_ok=True)
        picture = Image.fromarray(pixels)
        picture.thumbnail((SIDE, SIDE))
        picture.save(paths[-1], quality=QUALITY)
    told = [f"{private} private images have no picture."] if private or options.private else []
    return paths, [*told, *unread.values()]


def _shown_images(sources: Sources) -> Mapping[str, TableRow]:
    """Name of a picture -> row of the image that it shows, each image once."""
    rows = {}
    for table in ("gallery", "context_images"):
        for row in rows_of(sources.table(table)):
            rows[picture_name(row)] = row
    return rows


def _pixels(sources: Sources, row: TableRow, root: Path | None) -> np.ndarray:
    """(H, W, 3) uint8 of the image of a row; ``UserError`` where the data here are not those of its cells."""
    archive = sources.evidence.archive
    card = archive.catalog.card(row["task"])
    versions = {archive.records[cell].cell.data_version for cell in row["cells"].split()}
    if versions != {card.version}:
        raise UserError("The data here are of another version than those of the cells.")
    family, installed = archive.catalog.opener(row["task"])  # no loader that the card of a results folder names
    return family.picture(installed, row["set"], row["image"], root)


def picture_name(row: Mapping[str, Any]) -> str:
    """Name of a picture's file without ending, of a row with task, set and image. It tells nothing of the image."""
    return stable_digest(row["task"], row["set"], row["image"])


def read_pictures(paths: Iterable[Path]) -> Mapping[str, str]:
    """Name -> ``data:`` address of pictures."""
    addresses = {}
    for path in paths:
        addresses[path.stem] = "data:image/jpeg;base64," + base64.b64encode(path.read_bytes()).decode()
    return addresses


@dataclass(frozen=True)
class Gallery:
    """The section on pictures: rows of the tables ``context_images`` and ``gallery`` whose pictures were made.

    Each has the ``data:`` address of its picture as ``source``, and a text alternative as ``words``. Those on which
    methods disagree have the method that is right by its display name, and ``answers``: (method, what it said, whether
    that is right).
    """

    contexts: Sequence[Mapping[str, Any]]
    disagreements: Sequence[Mapping[str, Any]]

    @staticmethod
    def of(sources: Sources, pictures: Mapping[str, str]) -> Gallery:
        """The pictures that were made. pictures: name -> ``data:`` address."""
        contexts = _with_pictures(sources.table("context_images"), pictures)
        for row in contexts:
            row["words"] = picture_words(row["label"], row["context"])
        disagreements = _with_pictures(sources.table("gallery"), pictures)
        scopes = Counter[str]()
        for view in sources.evidence.views():
            scopes.update(view.tasks)
        for row in disagreements:
            if scopes[row["task"]] > 1:  # the name has its model, but for that of the family's own
                row["task"] += model_words(row["scope"])
            row["words"] = picture_words(row["label"], row["context"], row["task"])
            row["answers"] = _answers(row)
            row["right"] = label(row["right"])
        return Gallery(contexts, disagreements)


def _with_pictures(table: pd.DataFrame, pictures: Mapping[str, str]) -> list[dict[str, Any]]:
    """The rows of a table whose pictures were made, with the address of each as ``source``."""
    rows = []
    for row in rows_of(table):
        name = picture_name(row)
        if name in pictures:
            rows.append({**row, "source": pictures[name]})
    return rows


def _answers(row: TableRow) -> list[tuple[str, str, bool]]:
    """(method, what it said, whether that is right) of the compared methods that were asked about an image."""
    truth = row["label"] if row["question"] == "class" else row["context"]
    answers = []
    for entry in COMPARED:
        said = row[entry.label]
        if said:
            answers.append((label(entry.label), prompt_words(said), said == truth))
    return answers
