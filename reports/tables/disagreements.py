"""Held-out images to show: those on which two methods disagree in every seed, and one of each context."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby, zip_longest
from typing import Any

import numpy as np
import pandas as pd

from reports.evidence.evidence import CAR_FT, COMPARED, FT, ZERO_SHOT, Evidence, label
from reports.tables.table import Sources, table

QUESTIONS = ("class", "context")
#: (first, second) methods that are compared; images of the second pair are shown where the first has too few
PAIRS = ((CAR_FT.label, FT.label), (FT.label, ZERO_SHOT.label))
#: images that are shown: at most, and the number below which the second pair adds its own
MOST, LEAST = 48, 24


@dataclass(frozen=True)
class Answers:
    """What the compared methods said to a question on the N images of a held-out set."""

    where: Mapping[str, str]
    """The columns that name the set."""
    question: str
    """``class`` or ``context``."""
    images: pd.DataFrame
    """Name, label and context of each image; the context is empty where it is not known."""
    names: Sequence[str]
    """The classes or contexts that codes stand for."""
    truth: np.ndarray
    """(N,) codes; -1 where it is not known."""
    given: Mapping[str, np.ndarray]
    """Method -> (seeds, N) codes."""
    cells: str
    """Their ids, separated by blanks."""

    def only(self, right: str, wrong: str) -> np.ndarray:
        """(N,) whether every seed of ``right`` is right and every seed of ``wrong`` is not; the truth is known."""
        is_right, is_wrong = self.given[right] == self.truth, self.given[wrong] != self.truth
        return (self.truth >= 0) & is_right.all(0) & is_wrong.all(0)

    def shuffled(self, chosen: np.ndarray) -> list[int]:
        """Rows (of N) that are chosen, by a digest of their names, so that the first ones prefer no class."""
        where, names = (self.where["task"], self.where["set"]), self.images["image"].tolist()
        return sorted(np.flatnonzero(chosen).tolist(), key=lambda row: stable_digest(*where, names[row]))

    def said(self, method: str, row: int) -> str:
        """The answers of the seeds of a method on an image, the commonest first: ``car`` or ``car, bus``."""
        codes = Counter(map(int, self.given[method][:, row]) if method in self.given else ())
        return ", ".join(dict.fromkeys(self.names[code] for code, _ in codes.most_common()))

    def n_seeds(self, *methods: str) -> int:
        """The seeds of the method that has most."""
        return max(len(self.given[method]) for method in methods)


def _answers(view: Evidence) -> Iterator[Answers]:
    """Those to both questions on every held-out set that two compared methods were evaluated on, on the same images."""
    for task in view.tasks:
        cells = {e.label: of_entry for e in COMPARED if (of_entry := view.cells(task, e))}
        used = " ".join(cell for of_entry in cells.values() for cell in of_entry)
        card = view.card(task)
        for name in view.set_names(task) if len(cells) > 1 else ():
            made = {method: [view.outcome(cell, name) for cell in of_entry] for method, of_entry in cells.items()}
            frame = next(iter(made.values()))[0].frame
            if any(outcome.frame is not frame for outcomes in made.values() for outcome in outcomes):
                continue
            labels = np.array(card.classes, object)[frame.labels]
            contexts = np.array([*card.contexts, ""], object)[frame.contexts]  # -1 is the last
            images = pd.DataFrame({"image": frame.images.to_pylist(), "label": labels, "context": contexts})
            where = {**view.columns, "task": task, "set": name}
            predicted = {m: np.stack([outcome.predicted for outcome in of]) for m, of in made.items()}
            yield Answers(where, "class", images, card.classes, frame.labels, predicted, used)
            predicted = {m: np.stack([outcome.predicted_contexts for outcome in of]) for m, of in made.items()}
            yield Answers(where, "context", images, card.contexts, frame.contexts, predicted, used)


def count_sentences(evidence: Evidence) -> list[str]:
    """A sentence for each scope: ``Class: CAR-FT right and FT wrong 60, the reverse 75, of 1,940 images.``"""
    (first, second), sentences = PAIRS[0], dict[str, str]()
    for view in evidence.views():
        counts: dict[str, np.ndarray] = {}
        for answers in _answers(view):
            if {first, second} <= {*answers.given} and (answers.truth >= 0).any():
                sides = answers.only(first, second), answers.only(second, first), answers.truth >= 0
                counts[answers.question] = counts.get(answers.question, 0) + np.array([side.sum() for side in sides])
        words = "; ".join(
            f"{question}: {label(first)} right and {label(second)} wrong {ours:,}, the reverse {theirs:,}, "
            f"of {images:,} images"
            for question, (ours, theirs, images) in counts.items()
        )
        if words:
            sentences[view.name] = words
    if len(sentences) > 1:
        return [f"{scope}, {words}." for scope, words in sentences.items()]
    return [f"{words[:1].upper()}{words[1:]}." for words in sentences.values()]


@table(
    "Gallery",
    "A choice of images on which every seed of one method is right and every seed of another wrong: questions, "
    "directions, tasks and sets in turn.",
    ["scope", "task", "set", "image"],
    on_page=False,
)
def gallery(sources: Sources) -> pd.DataFrame:
    """The images to show, at most ``MOST``: both questions and directions, tasks and sets in turn.

    right, wrong: the methods that are so in every seed. label, context: the truth. The columns of the compared methods
    hold what each said to the question.
    """
    every = [answers for view in sources.evidence.views() for answers in _answers(view)]
    rows: list[dict[str, Any]] = []
    for first, second in PAIRS if every else ():
        if len(rows) < LEAST:
            asked = [(question, *side) for question in QUESTIONS for side in ((first, second), (second, first))]
            rows += _dealt([_dealt([_shown(a, *side) for a in every if a.question == q]) for q, *side in asked])
    if not rows:
        return pd.DataFrame()
    return pd.DataFrame(rows).drop_duplicates(["task", "set", "image"], ignore_index=True).head(MOST)


def _shown(answers: Answers, right: str, wrong: str) -> list[dict[str, Any]]:
    """Rows of the images that one method alone gets right."""
    if not {right, wrong} <= {*answers.given}:
        return []
    return [
        {
            **answers.where,
            "image": answers.images.at[row, "image"],
            "question": answers.question,
            "right": right,
            "wrong": wrong,
            "label": answers.images.at[row, "label"],
            "context": answers.images.at[row, "context"],
            **{method.label: answers.said(method.label, row) for method in COMPARED},
            "n_seeds": answers.n_seeds(right, wrong),
            "cells": answers.cells,
        }
        for row in answers.shuffled(answers.only(right, wrong))[:MOST]
    ]


def _dealt(hands: Sequence[list[dict[str, Any]]]) -> list[dict[str, Any]]:
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
    chosen = []
    for view in sources.evidence.views():
        asked = (answers for answers in _answers(view) if answers.question == "context")
        for _, of_task in groupby(asked, key=lambda answers: answers.where["task"]):
            sets = list(of_task)
            known = [one.images.iloc[one.shuffled(one.truth >= 0)].assign(**one.where, cells=one.cells) for one in sets]
            images = pd.concat(known).drop_duplicates(["context", "label"])
            often = images["label"].map(images["label"].value_counts())
            best = images.assign(often=often).sort_values(["often", "label"], ascending=[False, True])
            chosen.append(best.drop_duplicates("context").set_index("context").loc[images["context"].unique()])
            if len(images) and {*images["context"]} >= {*sets[0].names}:
                break
    if not chosen:
        return pd.DataFrame()
    every = pd.concat(chosen).reset_index().drop_duplicates("context", ignore_index=True).assign(n_images=1)
    return every[["context", "scope", "scale", "task", "set", "image", "label", "n_images", "cells"]]


def stable_digest(*parts: str) -> str:
    """16 hexadecimal digits that stand for some texts."""
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]
