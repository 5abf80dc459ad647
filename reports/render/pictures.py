"""Pictures of a report: files made from the data that are at hand and not private, and what the page says of them."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

from carft.core.errors import UserError
from reports.evidence.evidence import COMPARED, Evidence, label
from reports.evidence.scopes import model_words
from reports.figures.style import prompt_words
from reports.tables.disagreements import PAIRS, QUESTIONS, stable_digest
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


@dataclass(frozen=True)
class Pictures:
    """The pictures that were written, and why others were not."""

    paths: Sequence[Path]
    missing: Sequence[str]
    """Sentences on images without one: how many are private, and of each task why others could not be read."""


def write_pictures(sources: Sources, options: PictureOptions, folder: Path) -> Pictures:
    """Write the images of the tables ``gallery`` and ``context_images`` as JPEG files of at most 96 pixels.

    folder: of the report; the files go into ``pictures/``. An image that cannot be read is left out.
    """
    if not options.embedded:
        return Pictures((), ())
    target = folder / FOLDER
    paths: dict[str, Path] = {}
    missing: dict[str, str] = {}
    private: set[str] = set()
    own = sources.evidence.archive.catalog.own.named.values()
    withheld = {task.name for task in own if task.private}
    for row in (row for name in ("gallery", "context_images") for row in rows_of(sources.table(name))):
        task, image = row["task"], row["image"]
        path = target / f"{picture_name(task, row['set'], image)}.jpg"
        if task in withheld or options.hides(task, image):
            private.add(path.name)
        if path.name in paths or path.name in private:
            continue
        try:
            pixels = Image.fromarray(_pixels(sources.evidence, row, options.root))
        except UserError as error:
            missing.setdefault(task, f"{task} has images without a picture. {error}")
            continue
        target.mkdir(parents=True, exist_ok=True)
        pixels.thumbnail((SIDE, SIDE))
        pixels.save(path, quality=QUALITY)
        paths[path.name] = path
    left_out = [f"{len(private)} private images have no picture."] if options.private or private else []
    return Pictures(list(paths.values()), [*left_out, *missing.values()])


def _pixels(evidence: Evidence, row: Mapping[str, Any], root: Path | None) -> np.ndarray:
    """An image as (H, W, 3) uint8; ``UserError`` unless the data are those that its cells were run on."""
    catalog = evidence.archive.catalog
    card = catalog.card(row["task"])
    versions = {evidence.records[cell].cell.data_version for cell in row["cells"].split()}
    if versions != {card.version}:
        raise UserError("The data here are of another version than those of the cells.")
    return catalog.opener(row["task"])[0].picture(card, row["set"], row["image"], root)


def picture_name(task: str, held_out: str, image: str) -> str:
    """Name of a picture's file without ending. It tells nothing of the image."""
    return stable_digest(task, held_out, image)


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
    answers: Sequence[tuple[str, str, bool]] = ()
    """(method, what it said, whether that is right)."""

    @property
    def right(self) -> str:
        """Display name of the method that is right."""
        return label(self.facts["right"])


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
        gallery = sources.table("gallery")
        rows, named = rows_of(gallery), rows_of(_with_models_in_task_names(gallery, sources.table("tasks")))
        examples = [r for r in rows_of(sources.table("context_images")) if _name(r) in pictures]
        return Gallery(
            [Picture(pictures[_name(r)], f"{r['label']}, {prompt_words(r['context'])}", r) for r in examples],
            [
                Picture(pictures[_name(row)], _alternative(shown), shown, _answers(shown))
                for row, shown in zip(rows, named, strict=True)
                if _name(row) in pictures
            ],
            count_sentences(sources.table("disagreements")),
        )

    def choices(self, name: str) -> list[str]:
        """The values of a filter: ``task``, ``context`` or ``right``, in order of appearance."""
        values = [p.right if name == "right" else p.facts[name] for p in self.disagreements]
        return list(dict.fromkeys(value for value in values if value))


def count_sentences(table: pd.DataFrame) -> list[str]:
    """A sentence for each scope: ``Class: CAR-FT right and FT wrong 60, the reverse 75, of 1,940 images.``"""
    sentences = []
    (first, second), scopes = PAIRS[0], table["scope"].unique()
    table = table[(table["first"] == first.label) & (table["second"] == second.label)]
    for scope, part in table.groupby("scope", sort=False):
        parts = []
        for question in QUESTIONS:
            sums = part[part["question"] == question][["first_right", "second_right", "images"]].sum()
            if sums["images"]:
                parts.append(
                    f"{question}: {label(first.label)} right and {label(second.label)} wrong {sums['first_right']:,}, "
                    f"the reverse {sums['second_right']:,}, of {sums['images']:,} images"
                )
        words = "; ".join(parts) + "."
        sentences.append(f"{scope}, {words}" if len(scopes) > 1 else words[:1].upper() + words[1:])
    return sentences


def _with_models_in_task_names(table: pd.DataFrame, tasks: pd.DataFrame) -> pd.DataFrame:
    """The table, in which a task of several scopes is named with its model, but for that of the family's own model."""
    if table.empty:
        return table
    scopes = tasks.groupby("task")["scope"].nunique()
    shared = {*scopes[scopes > 1].index}
    pairs = zip(table["task"], table["scope"], strict=True)
    return table.assign(task=[task + (model_words(scope) if task in shared else "") for task, scope in pairs])


def _name(row: Mapping[str, Any]) -> str:
    return picture_name(row["task"], row["set"], row["image"])


def _alternative(row: Mapping[str, Any]) -> str:
    context = f" as “{prompt_words(row['context'])}”" if row["context"] else ""
    return f"{row['label']}{context}, from {row['task']}"


def _answers(row: Mapping[str, Any]) -> list[tuple[str, str, bool]]:
    truth = row["label"] if row["question"] == "class" else row["context"]
    answers = [(label(m.label), row[m.label]) for m in COMPARED if row[m.label]]
    return [(name, prompt_words(words), words == truth) for name, words in answers]
