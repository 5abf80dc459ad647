"""Held-out images to show: those on which two methods disagree in every seed, and one of each context."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from reports.evidence.evidence import CAR_FT, COMPARED, FT, Evidence, label
from reports.tables.table import Sources, table

#: the two methods of which one is right and the other wrong
SIDES = (CAR_FT.label, FT.label)
#: images that are shown at most
MOST = 48


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
            classes = {method: np.stack([each.predicted for each in of]) for method, of in made.items()}
            yield Answers(where, "class", images, card.classes, frame.labels, classes, used)
            given = {method: np.stack([each.predicted_contexts for each in of]) for method, of in made.items()}
            yield Answers(where, "context", images, card.contexts, frame.contexts, given, used)


def count_sentences(evidence: Evidence) -> list[str]:
    """A sentence for each scope: ``Class: CAR-FT right and FT wrong 60, the reverse 75, of 1,940 images.``"""
    rows = [
        (view.name, a.question, a.only(*SIDES).sum(), a.only(*reversed(SIDES)).sum(), (a.truth >= 0).sum())
        for view in evidence.views()
        for a in _answers(view)
        if {*SIDES} <= {*a.given} and (a.truth >= 0).any()
    ]
    table = pd.DataFrame(rows, columns=["scope", "question", "ours", "theirs", "images"])
    first, second = map(label, SIDES)
    sentences = {}
    for scope, of_scope in table.groupby("scope", sort=False):
        sums = of_scope.groupby("question", sort=False)[["ours", "theirs", "images"]].sum()
        sentences[scope] = "; ".join(
            f"{question}: {first} right and {second} wrong {ours:,}, the reverse {theirs:,}, of {images:,} images"
            for question, ours, theirs, images in sums.itertuples()
        )
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
    rows = [
        row
        for view in sources.evidence.views()
        for answers in _answers(view)
        for sides in (SIDES, SIDES[::-1])
        for row in _shown(answers, *sides)
    ]
    if not rows:
        return pd.DataFrame()
    found = pd.DataFrame(rows)
    for kinds in (["question", "right", "scope", "task", "set"], ["question", "right"]):
        turn = found.groupby(kinds).cumcount()
        found = found.assign(turn=turn).sort_values(["turn", "question", "right"], kind="stable")
    return found.drop(columns="turn").drop_duplicates(["task", "set", "image"], ignore_index=True).head(MOST)


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
            "cells": answers.cells,
        }
        for row in answers.shuffled(answers.only(right, wrong))[:MOST]
    ]


@table(
    "Context images",
    "One held-out image of each known context.",
    ["context"],
    on_page=False,
)
def context_images(sources: Sources) -> pd.DataFrame:
    """One held-out image of each known context: of the class that occurs in most contexts of its task."""
    known = [
        answers.images.iloc[answers.shuffled(answers.truth >= 0)].assign(**answers.where, cells=answers.cells)
        for view in sources.evidence.views()
        for answers in _answers(view)
        if answers.question == "context"
    ]
    if not known:
        return pd.DataFrame()
    images = pd.concat(known).drop_duplicates(["scope", "task", "context", "label"])
    often = images.groupby(["scope", "task", "label"])["label"].transform("size")
    best = images.assign(often=often).sort_values(["often", "label"], ascending=[False, True], kind="stable")
    return best.drop(columns="often").drop_duplicates("context", ignore_index=True)


def stable_digest(*parts: str) -> str:
    """16 hexadecimal digits that stand for some texts."""
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]
