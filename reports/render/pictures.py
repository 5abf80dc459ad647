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

from PIL import Image

from carft.core.errors import UserError
from reports.analysis.disagreements import disagreement_counts, stable_digest
from reports.evidence.evidence import COMPARED, label
from reports.evidence.scopes import model_words
from reports.tables.table import Sources, rows_of
from reports.words.figures import prompt_words
from reports.words.tables import count_sentences

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
        names = (task, image, f"{task}/{image}")
        return any(fnmatchcase(name, normpath(pattern)) for pattern in self.private for name in names)


def write_pictures(sources: Sources, options: PictureOptions, folder: Path) -> tuple[list[Path], list[str]]:
    """Write the images of the tables ``gallery`` and ``context_images`` as JPEG files of at most 96 pixels.

    folder: of the report; the files go into ``pictures/``. Returns their paths, and sentences on images without one:
    how many are private, and of each task why others could not be read.
    """
    if not options.embedded:
        return [], []
    archive = sources.evidence.archive
    withheld = {task.name for task in archive.catalog.own.named.values() if task.private}
    rows = {picture_name(row): row for table in ("gallery", "context_images") for row in rows_of(sources.table(table))}
    paths: list[Path] = []
    private = 0
    missing: dict[str, str] = {}
    for name, row in rows.items():
        task = row["task"]
        if task in withheld or options.hides(task, row["image"]):
            private += 1
            continue
        try:
            card = archive.catalog.card(task)
            if {archive.records[cell].cell.data_version for cell in row["cells"].split()} != {card.version}:
                raise UserError("The data here are of another version than those of the cells.")
            family, installed = archive.catalog.opener(task)  # no loader that the card of a results folder names
            pixels = family.picture(installed, row["set"], row["image"], options.root)
        except UserError as error:
            missing.setdefault(task, f"{task} has images without a picture. {error}")
            continue
        paths.append(folder / FOLDER / f"{name}.jpg")
        paths[-1].parent.mkdir(parents=True, exist_ok=True)
        picture = Image.fromarray(pixels)
        picture.thumbnail((SIDE, SIDE))
        picture.save(paths[-1], quality=QUALITY)
    left_out = [f"{private} private images have no picture."] if options.private or private else []
    return paths, [*left_out, *missing.values()]


def picture_name(row: Mapping[str, Any]) -> str:
    """Name of a picture's file without ending, of a row with task, set and image. It tells nothing of the image."""
    return stable_digest(row["task"], row["set"], row["image"])


def read_pictures(paths: Iterable[Path]) -> Mapping[str, str]:
    """Name -> ``data:`` address of pictures."""
    return {p.stem: "data:image/jpeg;base64," + base64.b64encode(p.read_bytes()).decode() for p in paths}


@dataclass(frozen=True)
class Gallery:
    """The section on pictures: rows of the tables ``context_images`` and ``gallery`` whose pictures were made.

    Each has the ``data:`` address of its picture as ``source``, and a text alternative as ``words``. Those on which
    methods disagree have the method that is right by its display name, and ``answers``: (method, what it said, whether
    that is right).
    """

    contexts: Sequence[Mapping[str, Any]]
    disagreements: Sequence[Mapping[str, Any]]
    counts: Sequence[str]
    """How many such images there are in all, a sentence for each scope."""

    @staticmethod
    def of(sources: Sources, pictures: Mapping[str, str]) -> Gallery:
        """The pictures that were made. pictures: name -> ``data:`` address."""
        contexts, disagreements = (
            [
                {**row, "source": pictures[name]}
                for row in rows_of(sources.table(table))
                if (name := picture_name(row)) in pictures
            ]
            for table in ("context_images", "gallery")
        )
        for row in contexts:
            row["words"] = f"{row['label']}, {prompt_words(row['context'])}"
        scopes = Counter(task for view in sources.evidence.views() for task in view.tasks)
        for row in disagreements:
            if scopes[row["task"]] > 1:  # the name has its model, but for that of the family's own
                row["task"] += model_words(row["scope"])
            context = f" as “{prompt_words(row['context'])}”" if row["context"] else ""
            row["words"] = f"{row['label']}{context}, from {row['task']}"
            truth = row["label"] if row["question"] == "class" else row["context"]
            said = [(label(m.label), row[m.label]) for m in COMPARED if row[m.label]]
            row["answers"] = [(method, prompt_words(words), words == truth) for method, words in said]
            row["right"] = label(row["right"])
        return Gallery(contexts, disagreements, count_sentences(disagreement_counts(sources.evidence)))

    def choices(self, name: str) -> list[str]:
        """The values of a filter: ``task``, ``context`` or ``right``, in order of appearance."""
        return list(dict.fromkeys(row[name] for row in self.disagreements if row[name]))
