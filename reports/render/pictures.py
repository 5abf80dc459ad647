"""Pictures of a report: which images it shows, and files of those whose data are at hand and not private."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from posixpath import normpath
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

from carft.core.errors import UserError
from reports.judge.disagreements import SIDES, answers_of, stable_digest
from reports.judge.entry import COMPARED, label
from reports.judge.evidence import Evidence
from reports.render.tables.table import TableRow, rows_of
from reports.render.words.page_words import prompt_words

FOLDER = "pictures"
#: longest side in pixels, and the quality of the JPEG files
SIDE, QUALITY = 96, 85
#: images of disagreement that are shown at most
MOST = 48


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


@dataclass(frozen=True)
class Pictures:
    """The pictures that were made, for the section on them.

    A row has task, set, image, label and context (empty where it is not known), the ``data:`` address of its picture as
    ``source`` and a text alternative as ``words``. That of an image on which methods disagree also has the question,
    the method that is right, and ``answers``: (method, what it said, whether that is right).
    """

    contexts: Sequence[Mapping[str, Any]] = ()
    disagreements: Sequence[Mapping[str, Any]] = ()
    paths: Sequence[Path] = ()
    missing: Sequence[str] = ()
    """Why images have no picture, a sentence each."""


@dataclass
class _Studio:
    """Makes the pictures of one report."""

    evidence: Evidence
    options: PictureOptions
    folder: Path
    sources: dict[str, str] = field(default_factory=dict)
    """Path of a picture -> its ``data:`` address."""
    hidden: set[str] = field(default_factory=set)
    unread: dict[str, str] = field(default_factory=dict)
    """Task -> why its images cannot be read."""

    def with_pictures(self, images: pd.DataFrame) -> list[dict[str, Any]]:
        """The rows of images that have a picture, with their source and words."""
        rows = []
        for row in rows_of(images):
            source = self._source(row)
            if source:
                words = [row["label"], prompt_words(row["context"]), f"from {row['task']}"]
                rows.append({**row, "source": source, "words": ", ".join(filter(None, words))})
        return rows

    def _source(self, row: TableRow) -> str:
        """The ``data:`` address of an image's picture, which is made where it is not there; empty for none."""
        path = self.folder / FOLDER / f"{picture_name(row)}.jpg"
        own = self.evidence.folder.catalog.own.named.get(row["task"])
        if self.options.hides(row["task"], row["image"]) or (own is not None and own.private):
            self.hidden.add(path.name)
            return ""
        if str(path) not in self.sources:
            try:
                picture = Image.fromarray(_pixels(self.evidence, row, self.options.root))
            except UserError as error:
                self.unread.setdefault(row["task"], f"{row['task']} has images without a picture. {error}")
                return ""
            path.parent.mkdir(parents=True, exist_ok=True)
            picture.thumbnail((SIDE, SIDE))
            picture.save(path, quality=QUALITY)
            self.sources[str(path)] = "data:image/jpeg;base64," + base64.b64encode(path.read_bytes()).decode()
        return self.sources[str(path)]


def make_pictures(evidence: Evidence, options: PictureOptions, folder: Path) -> Pictures:
    """Write JPEG files of at most 96 pixels into ``pictures/`` of a report's folder."""
    if not options.embedded:
        return Pictures()
    studio = _Studio(evidence, options, folder)
    contexts, disagreements = shown_images(evidence)
    rows = studio.with_pictures(disagreements)
    for row in rows:
        row["answers"] = _answers(row)
        row["right"] = label(row["right"])
    examples = studio.with_pictures(contexts)
    missing = list(studio.unread.values())
    if studio.hidden or options.private:
        missing.insert(0, f"{len(studio.hidden)} private images have no picture.")
    return Pictures(examples, rows, list(map(Path, studio.sources)), missing)


def shown_images(evidence: Evidence) -> tuple[pd.DataFrame, pd.DataFrame]:
    """One held-out image of each known context, and at most ``MOST`` on which CAR-FT and FT disagree.

    The first are of the class that occurs in most contexts of its task. Of the others every seed of one method is right
    and every seed of the other wrong: questions, directions, tasks and sets in turn. The columns of the compared
    methods hold what each said.
    """
    known, disputed = [pd.DataFrame()], [pd.DataFrame()]
    for view in evidence.views():
        for answers in answers_of(view):
            if answers.question == "context":
                known.append(answers.shuffled(answers.truth >= 0))
            for right, wrong in (SIDES, SIDES[::-1]):
                images = answers.shuffled(answers.only(right, wrong)).head(MOST).assign(right=right)
                for entry in COMPARED:
                    images[entry.label] = [answers.said(entry.label, row) for row in images.index]
                disputed.append(images)
    contexts, chosen = pd.concat(known), pd.concat(disputed, ignore_index=True)
    if not contexts.empty:
        contexts = contexts.drop_duplicates(["scope", "task", "context", "label"])
        often = contexts.groupby(["scope", "task", "label"])["label"].transform("size")
        contexts = contexts.assign(often=-often).sort_values(["often", "label"], kind="stable")
        contexts = contexts.drop_duplicates("context", ignore_index=True)
    if not chosen.empty:
        for kinds in (["question", "right", "scope", "task", "set"], ["question", "right"]):
            turn = chosen.groupby(kinds).cumcount()
            chosen = chosen.assign(turn=turn).sort_values(["turn", "question", "right"], kind="stable")
        chosen = chosen.drop_duplicates(["task", "set", "image"], ignore_index=True).head(MOST)
    return contexts, chosen


def _pixels(evidence: Evidence, row: TableRow, root: Path | None) -> np.ndarray:
    """(H, W, 3) uint8 of the image of a row; ``UserError`` where the data here are not those of its cells."""
    folder = evidence.folder
    versions = {folder.records[cell].cell.data_version for cell in row["cells"].split()}
    if versions != {folder.catalog.card(row["task"]).version}:
        raise UserError("The data here are of another version than those of the cells.")
    family, installed = folder.catalog.opener(row["task"])  # no loader that the card of a results folder names
    return family.picture(installed, row["set"], row["image"], root)


def picture_name(row: TableRow) -> str:
    """Name of a picture's file without ending, of a row with task, set and image. It tells nothing of the image."""
    return stable_digest(row["task"], row["set"], row["image"])


def _answers(row: TableRow) -> list[tuple[str, str, bool]]:
    """(method, what it said, whether that is right) of the compared methods that were asked about an image."""
    truth = row["label"] if row["question"] == "class" else row["context"]
    answers = []
    for entry in COMPARED:
        said = row[entry.label]
        if said:
            answers.append((label(entry.label), prompt_words(said), said == truth))
    return answers
