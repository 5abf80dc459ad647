"""Pictures of a report: files made from the data that are at hand and not private, and what the page says of them."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from PIL import Image

from carft.core.errors import UserError
from reports.evidence.evidence import COMPARED, label
from reports.evidence.scopes import model_words
from reports.figures.style import prompt_words
from reports.tables.disagreements import count_sentences, stable_digest
from reports.tables.table import Sources, rows_of

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


def write_pictures(sources: Sources, options: PictureOptions, folder: Path) -> tuple[list[Path], list[str]]:
    """Write the images of the tables ``gallery`` and ``context_images`` as JPEG files of at most 96 pixels.

    folder: of the report; the files go into ``pictures/``. Returns their paths, and sentences on images without one:
    how many are private, and of each task why others could not be read.
    """
    if not options.embedded:
        return [], []
    archive = sources.evidence.archive
    target = folder / FOLDER
    paths: dict[str, Path] = {}
    missing: dict[str, str] = {}
    private: set[str] = set()
    withheld = {task.name for task in archive.catalog.own.named.values() if task.private}
    for row in (row for name in ("gallery", "context_images") for row in rows_of(sources.table(name))):
        task, image = row["task"], row["image"]
        path = target / f"{picture_name(row)}.jpg"
        if task in withheld or options.hides(task, image):
            private.add(path.name)
        if path.name in paths or path.name in private:
            continue
        try:
            card = archive.catalog.card(task)
            if {archive.records[cell].cell.data_version for cell in row["cells"].split()} != {card.version}:
                raise UserError("The data here are of another version than those of the cells.")
            pixels = Image.fromarray(archive.catalog.opener(task)[0].picture(card, row["set"], image, options.root))
        except UserError as error:
            missing.setdefault(task, f"{task} has images without a picture. {error}")
            continue
        target.mkdir(parents=True, exist_ok=True)
        pixels.thumbnail((SIDE, SIDE))
        pixels.save(path, quality=QUALITY)
        paths[path.name] = path
    left_out = [f"{len(private)} private images have no picture."] if options.private or private else []
    return list(paths.values()), [*left_out, *missing.values()]


def picture_name(row: Mapping[str, Any]) -> str:
    """Name of a picture's file without ending, of a row with task, set and image. It tells nothing of the image."""
    return stable_digest(row["task"], row["set"], row["image"])


def read_pictures(paths: Iterable[Path]) -> Mapping[str, str]:
    """Name -> ``data:`` address of pictures."""
    return {p.stem: "data:image/jpeg;base64," + base64.b64encode(p.read_bytes()).decode() for p in paths}


@dataclass(frozen=True)
class Picture:
    """An image with everything that is said of it."""

    source: str
    """``data:`` address."""
    words: str
    """Text alternative."""
    facts: Mapping[str, Any]
    """Its row in the table ``gallery`` or ``context_images``."""
    right: str = ""
    """Display name of the method that is right."""
    answers: Sequence[tuple[str, str, bool]] = ()
    """(method, what it said, whether that is right)."""


@dataclass(frozen=True)
class Gallery:
    """The section on pictures."""

    contexts: Sequence[Picture]
    disagreements: Sequence[Picture]
    counts: Sequence[str]
    """How many such images there are in all, a sentence for each scope."""

    @staticmethod
    def of(sources: Sources, pictures: Mapping[str, str]) -> Gallery:
        """The pictures that were made. pictures: name -> ``data:`` address."""
        examples, gallery = (
            [
                (pictures[picture_name(row)], row)
                for row in rows_of(sources.table(name))
                if picture_name(row) in pictures
            ]
            for name in ("context_images", "gallery")
        )
        contexts = [Picture(source, f"{row['label']}, {prompt_words(row['context'])}", row) for source, row in examples]
        tasks = sources.table("tasks")
        scopes = tasks.groupby("task")["scope"].nunique()
        shown = []
        for source, row in gallery:
            if scopes[row["task"]] > 1:  # the name has its model, but for that of the family's own
                row["task"] += model_words(row["scope"])
            context = f" as “{prompt_words(row['context'])}”" if row["context"] else ""
            truth = row["label"] if row["question"] == "class" else row["context"]
            said = [(label(m.label), row[m.label]) for m in COMPARED if row[m.label]]
            answers = [(method, prompt_words(words), words == truth) for method, words in said]
            words = f"{row['label']}{context}, from {row['task']}"
            shown.append(Picture(source, words, row, label(row["right"]), answers))
        return Gallery(contexts, shown, count_sentences(sources.evidence))

    def choices(self, name: str) -> list[str]:
        """The values of a filter: ``task``, ``context`` or ``right``, in order of appearance."""
        values = [p.right if name == "right" else p.facts[name] for p in self.disagreements]
        return list(dict.fromkeys(filter(None, values)))
