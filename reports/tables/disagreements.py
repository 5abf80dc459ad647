"""Held-out images on which two methods disagree in every seed: counts, and a choice of them to show."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import groupby, zip_longest
from typing import Any, Literal

import numpy as np
import pandas as pd

from reports.evidence.evidence import CAR_FT, COMPARED, FT, ZERO_SHOT, Evidence, Source
from reports.evidence.outcomes import Frame
from reports.tables.table import Sources, table

Question = Literal["class", "context"]
QUESTIONS: tuple[Question, ...] = ("class", "context")
#: (first, second) methods that are compared; images of the second pair are shown where the first has too few
PAIRS = ((CAR_FT, FT), (FT, ZERO_SHOT))
#: images that are shown: at most, and the number below which the second pair adds its own
MOST, LEAST = 48, 24
Rows = list[dict[str, Any]]


@dataclass(frozen=True)
class Answers:
    """What the compared methods said to a question on the images of a held-out set."""

    view: Evidence
    task: str
    name: str
    question: Question
    frame: Frame
    given: Mapping[str, np.ndarray]
    """Method -> (seeds, N) codes."""
    cells: Source

    @property
    def where(self) -> dict[str, str]:
        """The columns that name the set."""
        return {**self.view.columns, "task": self.task, "set": self.name}

    @cached_property
    def images(self) -> list[str]:
        """Names of the images."""
        return self.frame.images.to_pylist()

    @property
    def known(self) -> np.ndarray:
        """(N,) whether the truth is known."""
        return self._truth(self.question) >= 0

    def only(self, right: str, wrong: str) -> np.ndarray:
        """(N,) whether every seed of ``right`` is right and every seed of ``wrong`` is not; the truth is known."""
        hits = {method: self.given[method] == self._truth(self.question) for method in (right, wrong)}
        return self.known & hits[right].all(0) & ~hits[wrong].any(0)

    def shuffled(self, chosen: np.ndarray) -> list[int]:
        """Rows (of N) that are chosen, by a digest of their names, so that the first ones prefer no class."""
        digests = {int(r): stable_digest(self.task, self.name, self.images[r]) for r in np.flatnonzero(chosen)}
        return sorted(digests, key=lambda row: digests[row])

    def said(self, method: str, row: int) -> str:
        """The answers of the seeds of a method on an image, the commonest first: ``car`` or ``car, bus``."""
        codes = self.given[method][:, row] if method in self.given else ()
        names = self._names(self.question)
        return ", ".join(dict.fromkeys(names[code] for code, _ in Counter(map(int, codes)).most_common()))

    def truth(self, question: Question, row: int) -> str:
        """The true class or context of an image; empty for a context that is not known."""
        code = int(self._truth(question)[row])
        return self._names(question)[code] if code >= 0 else ""

    def _truth(self, question: Question) -> np.ndarray:
        return self.frame.labels if question == "class" else self.frame.contexts

    def _names(self, question: Question) -> Sequence[str]:
        card = self.view.card(self.task)
        return card.classes if question == "class" else card.contexts

    def seeds(self, *methods: str) -> int:
        """The seeds of the method that has most."""
        return max(len(self.given[method]) for method in methods)


def _answers(evidence: Evidence) -> Iterator[Answers]:
    """Those to both questions on every held-out set that two compared methods were evaluated on, on the same images."""
    for view in evidence.views():
        for task in view.tasks:
            cells = {e.label: of_entry for e in COMPARED if (of_entry := view.cells(task, e))}
            every = tuple(cell for of_entry in cells.values() for cell in of_entry)
            for name in view.set_names(task) if len(cells) > 1 else ():
                outcomes = {method: [view.outcome(c, name) for c in of_entry] for method, of_entry in cells.items()}
                frame = view.outcome(every[0], name).frame
                is_same = all(o.frame is frame for made in outcomes.values() for o in made)
                for question in QUESTIONS if is_same else ():
                    column = "predicted" if question == "class" else "predicted_contexts"
                    given = {m: np.stack([getattr(o, column) for o in made]) for m, made in outcomes.items()}
                    yield Answers(view, task, name, question, frame, given, every)


@table(
    "Images on which methods disagree",
    "Images on which every seed of one is right and every seed of the other wrong, both ways; “images” are all of the "
    "set whose class or context is known.",
    ["scope", "task", "set", "question", "first", "second"],
)
def disagreements(sources: Sources) -> pd.DataFrame:
    """One row per scope, task, held-out set, question and pair of methods.

    first_right: images on which every seed of the first method is right and every seed of the second is wrong.
    second_right: the reverse. images: all images of the set whose class or context is known.
    """
    return pd.DataFrame(
        {
            **answers.where,
            "question": answers.question,
            "first": first.label,
            "second": second.label,
            "first_right": answers.only(first.label, second.label).sum(),
            "second_right": answers.only(second.label, first.label).sum(),
            "images": answers.known.sum(),
            "n_seeds": answers.seeds(first.label, second.label),
            "cells": " ".join(answers.cells),
        }
        for answers in _answers(sources.evidence)
        for first, second in PAIRS
        if {first.label, second.label} <= {*answers.given} and answers.known.any()
    )


@table(
    "Gallery",
    "A choice of those images: questions, directions, tasks and sets in turn.",
    ["scope", "task", "set", "image"],
    on_page=False,
)
def gallery(sources: Sources) -> pd.DataFrame:
    """The images to show, at most ``MOST``: both questions and directions, tasks and sets in turn.

    right, wrong: the methods that are so in every seed. label, context: the truth. The columns of the compared methods
    hold what each said to the question.
    """
    every = list(_answers(sources.evidence))
    rows: Rows = []
    for first, second in PAIRS if every else ():
        if len(rows) < LEAST:
            sides = ((first.label, second.label), (second.label, first.label))
            asked = [(question, *side) for question in QUESTIONS for side in sides]
            rows += _dealt([_dealt([_shown(a, *side) for a in every if a.question == q]) for q, *side in asked])
    if not rows:
        return pd.DataFrame()
    return pd.DataFrame(rows).drop_duplicates(["task", "set", "image"], ignore_index=True).head(MOST)


def _shown(answers: Answers, right: str, wrong: str) -> Rows:
    """Rows of the images that one method alone gets right."""
    return [
        {
            **answers.where,
            "image": answers.images[row],
            "question": answers.question,
            "right": right,
            "wrong": wrong,
            "label": answers.truth("class", row),
            "context": answers.truth("context", row),
            **{method.label: answers.said(method.label, row) for method in COMPARED},
            "n_seeds": answers.seeds(right, wrong),
            "cells": " ".join(answers.cells),
        }
        for row in (answers.shuffled(answers.only(right, wrong)) if {right, wrong} <= {*answers.given} else ())[:MOST]
    ]


def _dealt(hands: Sequence[Rows]) -> Rows:
    """The first of each, then the second of each, and so on."""
    return [row for turn in zip_longest(*hands) for row in turn if row is not None]


@table(
    "Context images",
    "One held-out image of each known context.",
    ["context"],
    on_page=False,
)
def context_images(sources: Sources) -> pd.DataFrame:
    """One held-out image of each known context: of the class that occurs in most contexts of its task.

    Tasks in order, until all contexts of one have an image.
    """
    rows: dict[str, dict[str, Any]] = {}
    for view in sources.evidence.views():
        asked = (answers for answers in _answers(replace(view, others=())) if answers.question == "context")
        for task, of_task in groupby(asked, key=lambda answers: answers.task):
            by_context: dict[str, dict[str, tuple[Answers, int]]] = {}
            for answers in of_task:
                for row in answers.shuffled(answers.known):
                    by_class = by_context.setdefault(answers.truth("context", row), {})
                    by_class.setdefault(answers.truth("class", row), (answers, row))
            often = Counter(label for by_class in by_context.values() for label in by_class)
            for context, by_class in by_context.items():
                label = min(by_class, key=lambda name: (-often[name], name))
                answers, row = by_class[label]
                facts = {"image": answers.images[row], "label": label, "n_images": 1, "cells": " ".join(answers.cells)}
                rows.setdefault(context, {"context": context, **answers.where, **facts})
            if rows and set(rows) >= set(view.card(task).contexts):
                break
    return pd.DataFrame(rows.values())


def stable_digest(*parts: str) -> str:
    """16 hexadecimal digits that stand for some texts."""
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]
