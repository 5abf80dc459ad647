"""Held-out images to show: those on which two methods disagree in every seed, and one of each context."""

from itertools import product

import pandas as pd

from reports.analysis.disagreements import SIDES, answers_of
from reports.evidence.evidence import COMPARED
from reports.tables.table import Sources, table

#: images that are shown at most
MOST = 48


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
        for answers, (right, wrong) in product(answers_of(view), (SIDES, SIDES[::-1])):
            images = answers.shuffled(answers.only(right, wrong)).head(MOST).assign(right=right, wrong=wrong)
            for entry in COMPARED:
                images[entry.label] = [answers.said(entry.label, row) for row in images.index]
            shown.append(images)
    if not shown:
        return pd.DataFrame()
    chosen = pd.concat(shown, ignore_index=True)
    if chosen.empty:
        return pd.DataFrame()
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
    known = []
    for view in sources.evidence.views():
        for answers in answers_of(view):
            if answers.question == "context":
                known.append(answers.shuffled(answers.truth >= 0))
    if not known:
        return pd.DataFrame()
    images = pd.concat(known).drop_duplicates(["scope", "task", "context", "label"])
    often = images.groupby(["scope", "task", "label"])["label"].transform("size")
    best = images.assign(often=often).sort_values(["often", "label"], ascending=[False, True], kind="stable")
    return best.drop(columns="often").drop_duplicates("context", ignore_index=True)
