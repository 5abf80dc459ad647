"""Held-out images to show: those on which two methods disagree in every seed, and one of each context."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Literal

import numpy as np
import pandas as pd

from carft.core.source import text_digest
from reports.evidence.evidence import CAR_FT, COMPARED, FT, Evidence, label
from reports.tables.table import Sources, table

#: the two methods of which one is right and the other wrong
SIDES = (CAR_FT.label, FT.label)
#: images that are shown at most
MOST = 48


@dataclass(frozen=True)
class Answers:
    """What the compared methods said to a question on the N images of a held-out set."""

    question: Literal["class", "context"]
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
        digests = [stable_digest(*names) for names in images[["task", "set", "image"]].itertuples(index=False)]
        return images.iloc[np.argsort(np.array(digests, dtype=str), kind="stable")]

    def said(self, method: str, row: int) -> str:
        """The answers of the seeds of a method on an image, the commonest first: ``car`` or ``car, bus``."""
        codes = Counter(map(int, self.given[method][:, row]) if method in self.given else ())
        return ", ".join(dict.fromkeys(self.names[code] for code, _ in codes.most_common()))


def _answers(view: Evidence) -> Iterator[Answers]:
    """Those to both questions on every held-out set that two compared methods were evaluated on, on the same images."""
    for task in view.tasks:
        cells = {e.label: of_entry for e in COMPARED if (of_entry := view.cells(task, e))}
        card = view.card(task)
        for name in view.set_names(task) if len(cells) > 1 else ():
            made = {method: [view.outcome(cell, name) for cell in of_entry] for method, of_entry in cells.items()}
            frame = next(iter(made.values()))[0].frame
            if any(outcome.frame is not frame for outcomes in made.values() for outcome in outcomes):
                continue
            labels = np.array(card.classes, object)[frame.labels]
            contexts = np.array([*card.contexts, ""], object)[frame.contexts]  # -1 is the last
            images = pd.DataFrame({"image": frame.images.to_pylist(), "label": labels, "context": contexts})
            used = " ".join(cell for of_entry in cells.values() for cell in of_entry)
            images = images.assign(**view.columns, task=task, set=name, cells=used)
            classes = {method: np.stack([each.predicted for each in of]) for method, of in made.items()}
            yield Answers("class", images.assign(question="class"), card.classes, frame.labels, classes)
            given = {method: np.stack([each.predicted_contexts for each in of]) for method, of in made.items()}
            yield Answers("context", images.assign(question="context"), card.contexts, frame.contexts, given)


def count_sentences(evidence: Evidence) -> list[str]:
    """A sentence for each scope: ``Class: CAR-FT right and FT wrong 60, the reverse 75, of 1,940 images.``"""
    sentences, (first, second) = [], map(label, SIDES)
    for view in evidence.views():
        counts: dict[str, np.ndarray] = {}
        for answers in _answers(view):
            if {*SIDES} <= {*answers.given} and (answers.truth >= 0).any():
                sides = (answers.only(*SIDES), answers.only(*SIDES[::-1]), answers.truth >= 0)
                of_set = np.array([images.sum() for images in sides])
                counts[answers.question] = of_set + counts.get(answers.question, 0)
        words = "; ".join(
            f"{question}: {first} right and {second} wrong {ours:,}, the reverse {theirs:,}, of {images:,} images"
            for question, (ours, theirs, images) in counts.items()
        )
        if words:
            sentences.append((view.name, words))
    if len(sentences) > 1:
        return [f"{scope}, {words}." for scope, words in sentences]
    return [f"{words[:1].upper()}{words[1:]}." for _, words in sentences]


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
    shown = []
    for view in sources.evidence.views():
        for answers, (right, wrong) in product(_answers(view), (SIDES, SIDES[::-1])):
            images = answers.shuffled(answers.only(right, wrong)).head(MOST)
            said = {entry.label: [answers.said(entry.label, row) for row in images.index] for entry in COMPARED}
            shown.append(images.assign(right=right, wrong=wrong, **said))
    if not any(map(len, shown)):
        return pd.DataFrame()
    chosen = pd.concat(shown, ignore_index=True)
    for kinds in (["question", "right", "scope", "task", "set"], ["question", "right"]):
        turn = chosen.groupby(kinds).cumcount()
        chosen = chosen.assign(turn=turn).sort_values(["turn", "question", "right"], kind="stable")
    return chosen.drop(columns="turn").drop_duplicates(["task", "set", "image"], ignore_index=True).head(MOST)


@table(
    "Context images",
    "One held-out image of each known context.",
    ["context"],
    on_page=False,
)
def context_images(sources: Sources) -> pd.DataFrame:
    """One held-out image of each known context: of the class that occurs in most contexts of its task."""
    known = [
        answers.shuffled(answers.truth >= 0)
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
    return text_digest("\0".join(parts))
