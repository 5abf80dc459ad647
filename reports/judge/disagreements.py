"""What the compared methods said of each held-out image."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Literal

import numpy as np
import pandas as pd

from carft.core.source import text_digest
from reports.judge.entry import CAR_FT, COMPARED, FT
from reports.judge.evidence import Evidence

#: the two methods of which one is right and the other wrong
SIDES = (CAR_FT.label, FT.label)
#: what is asked of an image
Question = Literal["class", "context"]


@dataclass(frozen=True)
class Answers:
    """What the compared methods said to a question on the N images of a held-out set."""

    question: Question
    images: pd.DataFrame
    """A row per image: scope, scale, task, set and question; name, label and context of the image, the context empty
    where it is not known; ids of the cells, separated by blanks."""
    names: Sequence[str]
    """The classes or contexts that codes stand for."""
    truth: np.ndarray
    """(N,) codes; -1 where it is not known."""
    given: Mapping[str, np.ndarray]
    """Method -> (seeds, N) codes."""

    def only(self, right: str, wrong: str) -> np.ndarray:
        """(N,) whether every seed of ``right`` is right and every seed of ``wrong`` is not; the truth is known."""
        if not {right, wrong} <= {*self.given}:
            return np.zeros(len(self.truth), bool)
        is_right, is_wrong = self.given[right] == self.truth, self.given[wrong] != self.truth
        return (self.truth >= 0) & is_right.all(0) & is_wrong.all(0)

    def shuffled(self, chosen: np.ndarray) -> pd.DataFrame:
        """The chosen of the N images, by a digest of their names, so that the first ones prefer no class."""
        images = self.images[chosen]
        names = images[["task", "set", "image"]].to_numpy().tolist()
        digests = [stable_digest(*of_image) for of_image in names]
        return images.iloc[np.argsort(np.array(digests, dtype=str), kind="stable")]

    def said(self, method: str, row: int) -> str:
        """The answers of the seeds of a method on an image, the commonest first: ``car`` or ``car, bus``."""
        if method not in self.given:
            return ""
        codes = Counter(self.given[method][:, row].tolist())
        commonest_first = np.array([code for code, _ in codes.most_common()])
        return ", ".join(dict.fromkeys(names_of_codes(commonest_first, self.names)))


def names_of_codes(codes: np.ndarray, names: Sequence[str]) -> np.ndarray:
    """(N,) the names that codes stand for; empty for -1.

    A code that has no name here, as in records of other data, is named by its number.
    """
    named = np.full(codes.shape, "", object)
    has_name = (codes >= 0) & (codes < len(names))
    named[has_name] = np.array(names, object)[codes[has_name]]
    named[codes >= len(names)] = codes[codes >= len(names)].astype(str)
    return named


def answers_of(view: Evidence) -> Iterator[Answers]:
    """Those to both questions on every held-out set that two compared methods were evaluated on, on the same images."""
    for task in view.tasks:
        cells = {}
        for entry in COMPARED:
            of_entry = view.cells(task, entry)
            if of_entry:
                cells[entry.label] = of_entry
        if len(cells) > 1:
            for name in view.set_names(task):
                yield from _answers_on(view, task, name, cells)


def _answers_on(view: Evidence, task: str, name: str, cells: Mapping[str, Sequence[str]]) -> Iterator[Answers]:
    """Those to both questions on one set; none where cells were evaluated on different images. cells: by method."""
    card, frame = view.card(task), None
    classes, named = {}, {}
    for method, of_method in cells.items():
        outcomes = [view.outcome(cell, name) for cell in of_method]
        for outcome in outcomes:
            frame = frame or outcome.frame
            if outcome.frame is not frame:
                return
        classes[method] = np.stack([outcome.predicted for outcome in outcomes])
        named[method] = np.stack([outcome.predicted_contexts for outcome in outcomes])
    assert frame is not None  # there are cells
    labels = names_of_codes(frame.labels, card.classes)
    contexts = names_of_codes(frame.contexts, card.contexts)
    images = pd.DataFrame({"image": frame.images.to_pylist(), "label": labels, "context": contexts})
    images = images.assign(**view.columns, task=task, set=name, cells=" ".join(chain(*cells.values())))
    yield Answers("class", images.assign(question="class"), card.classes, frame.labels, classes)
    yield Answers("context", images.assign(question="context"), card.contexts, frame.contexts, named)


def stable_digest(*parts: str) -> str:
    """16 hexadecimal digits that stand for some texts."""
    return text_digest("\0".join(parts))
