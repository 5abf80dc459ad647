"""Sentences of the page about the whole report: how many verdicts came out how, and what they rest on."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from carft.spec.weights import display_form
from reports.claims.claim import Verdict
from reports.evidence.evidence import Evidence
from reports.figures.style import label
from reports.render.formatting import ICONS, mark_of


def count_words(verdicts: Sequence[Verdict]) -> str:
    """How many claims came out how: ``2 contradicted``, with the ids of the claims unless there are several scopes.

    What was not run is counted at the end, and so is a claim that needs no run.
    """
    several = len({v.scope for v in verdicts if v.scope}) > 1  # several things that must not be pooled
    ours, others = ([v for v in verdicts if (v.basis == "records") == here] for here in (True, False))
    groups = {word: [v.claim for v in ours if v.verdict == word] for word in ICONS}
    counted = [
        f"{len(claims)} {word}" + ("" if several else f" ({', '.join(dict.fromkeys(claims))})")
        for word, claims in groups.items()
        if claims
    ]
    apart = "".join(f" Without any run: {v.claim} {mark_of(v).words}." for v in others)
    return f"Of {len(ours)} {'questions' if several else 'claims'}: {'; '.join(counted)}.{apart}"


def rests_on_words(evidence: Evidence) -> str:
    """How many cells and tasks there are, and the model and epochs of the first scope."""
    tasks, epochs = sum(len(view.tasks) for view in evidence.views()), int(evidence.studies[0].training.epochs)
    models = sorted({display_form(s.model, s.pretrained) for s in evidence.studies})
    named = ", ".join(f"{model} (weights '{weights}')" for model, weights in models)
    return (
        f"{len(evidence.records):,} cells, {tasks} task{'s' * (tasks > 1)}; {evidence.name}: model {named}, "
        f"{epochs} training epoch{'s' * (epochs > 1)}."
    )


def about_words(evidence: Evidence) -> str:
    """What the report is about: the tasks or family of the first scope, and how many more scopes there are."""
    more = len(evidence.others)
    return evidence.name + (f" and {more} other scope{'s' * (more > 1)}" if more else "")


def winners_again(evidence: Evidence, trials: pd.DataFrame, tasks: pd.DataFrame) -> str:
    """What winners of the first scope reach on validation when they are chosen and with fresh seeds.

    Empty where nothing was chosen. trials and tasks: the tables.
    """
    trials, tasks = (table[table["scope"] == evidence.name] if "scope" in table else table for table in (trials, tasks))
    keys = [name for name in ("task", "method", "search") if name in trials]
    if trials.empty or tasks.empty or trials.groupby(keys).size().max() == 1:
        return ""
    chosen = trials[trials["won"].astype(bool)].groupby(["method", "task"], sort=False)["val/top1"].mean()
    pairs = pd.DataFrame({"chosen": chosen, "again": tasks.set_index(["method", "task"])["val_top1"]}).dropna()
    means = 100 * pairs.groupby("method").mean().reindex(chosen.index.unique("method")).dropna()
    parts = [f"{label(m, evidence.methods)} {c:.1f} and {a:.1f} ({a - c:+.1f})" for m, c, a in means.itertuples()]
    if not parts:
        return ""
    return (
        f"Validation top-1 of winners in %, mean over tasks, in the search and with fresh seeds: {'; '.join(parts)}. "
        "The first number chose the winner, so it flatters it."
    )
