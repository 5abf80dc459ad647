"""Held-out images on which two methods disagree in every seed: counts, and a choice of them to show."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import zip_longest
from typing import Literal

import numpy as np
import pandas as pd

from reports.evidence.evidence import CAR_FT, COMPARED, FT, ZERO_SHOT, Evidence
from reports.evidence.outcomes import SetOutcome
from reports.tables.table import TableCard

Question = Literal["class", "context"]


QUESTIONS: tuple[Question, ...] = ("class", "context")


#: (first, second) methods that are compared; images of the second pair are shown where the first has too few
PAIRS = ((CAR_FT, FT), (FT, ZERO_SHOT))


#: images that are shown: at most, and the number below which the second pair adds its own
MOST, LEAST = 48, 24
COUNTS = ("scope", "scale", "task", "set", "question", "first", "second", "first_right", "second_right", "images")


CHOSEN = ("scope", "scale", "task", "set", "image", "question", "right", "wrong", "label", "context")


@dataclass(frozen=True)
class Seen:
    """What the compared methods said on a held-out set, with one outcome for each seed."""

    view: Evidence
    task: str
    name: str
    outcomes: dict[str, list[SetOutcome]]
    cells: tuple[str, ...]

    @cached_property
    def images(self) -> list[str]:
        """Names of the images."""
        return self._any.frame.images.to_pylist()

    def shuffled(self, rows: np.ndarray) -> list[int]:
        """Rows by a digest of the names of their images, so that a choice of the first ones prefers no class."""
        return sorted((int(r) for r in rows), key=lambda r: stable_digest(self.task, self.name, self.images[r]))

    def known(self, question: Question) -> np.ndarray:
        """(N,) whether the truth is known."""
        frame = self._any.frame
        return (frame.labels if question == "class" else frame.contexts) >= 0

    @property
    def _any(self) -> SetOutcome:
        return next(iter(self.outcomes.values()))[0]

    def right(self, method: str, question: Question) -> np.ndarray:
        """(seeds, N) whether each seed is right."""
        made = self.outcomes[method]
        return np.stack([o.hits if question == "class" else o.context_hits for o in made])

    def only(self, right: str, wrong: str, question: Question) -> np.ndarray:
        """(N,) whether every seed of ``right`` is right and every seed of ``wrong`` is not; the truth is known."""
        return self.known(question) & self.right(right, question).all(0) & ~self.right(wrong, question).any(0)

    def said(self, method: str, question: Question, row: int) -> str:
        """The answers of the seeds of a method on an image, the commonest first: ``car`` or ``car, bus``."""
        names = self.names(question)
        codes = [o.predicted if question == "class" else o.predicted_contexts for o in self.outcomes[method]]
        return ", ".join(dict.fromkeys(names[k] for k, _ in Counter(int(c[row]) for c in codes).most_common()))

    def truth(self, question: Question, row: int) -> str:
        """The true class or context of an image; empty for a context that is not known."""
        code = int((self._any.frame.labels if question == "class" else self._any.frame.contexts)[row])
        return self.names(question)[code] if code >= 0 else ""

    def names(self, question: Question) -> Sequence[str]:
        """The classes, or the prompts of the contexts."""
        card = self.view.card(self.task)
        return card.classes if question == "class" else card.contexts


def disagreement_table(evidence: Evidence) -> pd.DataFrame:
    """One row per scope, task, held-out set, question and pair of methods.

    first_right: images on which every seed of the first method is right and every seed of the second is wrong.
    second_right: the reverse. images: all images of the set whose class or context is known.
    """
    rows = []
    for seen in _seen(evidence):
        for question, first, second in _asked(seen):
            where = (seen.view.name, seen.view.scale, seen.view.label(seen.task), seen.name, question, first, second)
            counts = [int(seen.only(a, b, question).sum()) for a, b in ((first, second), (second, first))]
            images = int(seen.known(question).sum())
            seeds = max(len(seen.outcomes[m]) for m in (first, second))
            rows.append((*where, *counts, images, seeds, " ".join(seen.cells)))
    return pd.DataFrame(rows, columns=[*COUNTS, "n_seeds", "cells"])


DISAGREEMENTS_CARD = TableCard(
    "disagreements",
    "Images on which methods disagree",
    "Images that every seed of one method gets right and every seed of the other gets wrong, both ways; “images” "
    "are all of the set whose class or context is known.",
    lambda sources: disagreement_table(sources.evidence),
    ("scope", "task", "set", "question", "first", "second"),
)


def gallery_table(evidence: Evidence) -> pd.DataFrame:
    """The images to show, at most ``MOST``: both questions and directions, tasks and sets in turn.

    right, wrong: the methods that are so in every seed. label, context: the truth. The columns of the compared methods
    hold what each said to the question.
    """
    seen = list(_seen(evidence))
    rows: list[tuple[object, ...]] = []
    for first, second in PAIRS:
        if len(rows) < LEAST:
            both = ((first.label, second.label), (second.label, first.label))
            rows += _dealt([_candidates(seen, question, *sides) for question in QUESTIONS for sides in both])
    table = pd.DataFrame(rows, columns=[*CHOSEN, *(m.label for m in COMPARED), "n_seeds", "cells"])
    return table.drop_duplicates(["task", "set", "image"], ignore_index=True).head(MOST)


GALLERY_CARD = TableCard(
    "gallery",
    "Images of the gallery",
    "A choice of those images for the gallery: questions, directions, tasks and sets in turn.",
    lambda sources: gallery_table(sources.evidence),
    ("scope", "task", "set", "image"),
    on_page=False,
)


def context_image_table(evidence: Evidence) -> pd.DataFrame:
    """One held-out image of each known context: of one class, as far as there is one that occurs in all of them."""
    rows: dict[str, tuple[object, ...]] = {}
    for view in evidence.views():
        for task in view.tasks:
            seen = [s for s in _seen(view.alone()) if s.task == task]
            for context, (example, row) in _examples(seen).items():
                where = (view.name, view.scale, view.label(task), example.name, example.images[row])
                rows.setdefault(context, (context, *where, example.truth("class", row), 1, " ".join(example.cells)))
            if rows and set(rows) >= set(view.card(task).contexts):
                break
    columns = ["context", "scope", "scale", "task", "set", "image", "label", "n_images", "cells"]
    return pd.DataFrame(list(rows.values()), columns=columns)


CONTEXT_IMAGES_CARD = TableCard(
    "context_images",
    "Images of the contexts",
    "One held-out image of each known context.",
    lambda sources: context_image_table(sources.evidence),
    ("context",),
    on_page=False,
)


def stable_digest(*parts: str) -> str:
    """16 hexadecimal digits that stand for some texts."""
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]


def _seen(evidence: Evidence) -> Iterator[Seen]:
    """Every held-out set on which at least two of the compared methods were evaluated, on the same images."""
    for view in evidence.views():
        for task in view.tasks:
            cells = {e.label: found for e in COMPARED if (found := view.cells(task, e))}
            for name in view.set_names(task) if len(cells) > 1 else ():
                outcomes = {m: [view.outcome(c, name) for c in found] for m, found in cells.items()}
                if len({id(o.frame) for found in outcomes.values() for o in found}) == 1:
                    yield Seen(view, task, name, outcomes, tuple(c for found in cells.values() for c in found))


def _asked(seen: Seen) -> Iterator[tuple[Question, str, str]]:
    for question in QUESTIONS:
        if not seen.known(question).any():
            continue
        for first, second in PAIRS:
            if first.label in seen.outcomes and second.label in seen.outcomes:
                yield question, first.label, second.label


def _candidates(seen: Sequence[Seen], question: Question, right: str, wrong: str) -> list[tuple[object, ...]]:
    """Images that one method alone gets right, dealt from tasks and sets in turn."""
    return _dealt([list(_rows(s, question, right, wrong)) for s in seen if {right, wrong} <= set(s.outcomes)])


def _rows(seen: Seen, question: Question, right: str, wrong: str) -> Iterator[tuple[object, ...]]:
    where = (seen.view.name, seen.view.scale, seen.view.label(seen.task), seen.name)
    for row in seen.shuffled(np.flatnonzero(seen.only(right, wrong, question)))[:MOST]:
        truth = (seen.truth("class", row), seen.truth("context", row))
        said = [seen.said(m.label, question, row) if m.label in seen.outcomes else "" for m in COMPARED]
        seeds = max(len(seen.outcomes[m]) for m in (right, wrong))
        yield (*where, seen.images[row], question, right, wrong, *truth, *said, seeds, " ".join(seen.cells))


def _dealt(hands: Sequence[Sequence[tuple[object, ...]]]) -> list[tuple[object, ...]]:
    """The first of each, then the second of each, and so on."""
    return [row for turn in zip_longest(*hands) for row in turn if row is not None]


def _examples(seen: Sequence[Seen]) -> dict[str, tuple[Seen, int]]:
    """Context -> a set and the row of an image in it, of the class that occurs in most contexts."""
    by_context: dict[str, dict[str, tuple[Seen, int]]] = {}
    for s in seen:
        for row in s.shuffled(np.flatnonzero(s.known("context"))):
            by_context.setdefault(s.truth("context", row), {}).setdefault(s.truth("class", row), (s, row))
    often = Counter(label for by_class in by_context.values() for label in by_class)
    best = [label for label, _ in sorted(often.items(), key=lambda pair: (-pair[1], pair[0]))]
    return {c: next(by_class[label] for label in best if label in by_class) for c, by_class in by_context.items()}
