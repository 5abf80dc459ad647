"""Sentences of the page about the whole report: how many verdicts came out how, and what they rest on."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from carft.spec.weights import display_form
from reports.claims.verdicts import Verdict
from reports.evidence.evidence import Evidence
from reports.figures.style import label
from reports.render.formatting import ICONS, mark_of


def count_words(verdicts: Sequence[Verdict]) -> str:
    """How many claims came out how: ``2 contradicted``, with the ids of the claims unless there are several scopes.

    What was not run is counted at the end, and so is a claim that needs no run.
    """
    several = is_several(verdicts)
    ours, others = ([v for v in verdicts if (v.basis == "records") == here] for here in (True, False))
    groups = {word: [v.claim for v in ours if v.verdict == word] for word in ICONS}
    counted = [
        f"{len(claims)} {word}" + ("" if several else f" ({', '.join(dict.fromkeys(claims))})")
        for word, claims in groups.items()
        if claims
    ]
    apart = "".join(f" Without any run: {v.claim} {mark_of(v).words}." for v in others)
    return f"Of {len(ours)} {'questions' if several else 'claims'}: {'; '.join(counted)}.{apart}"


def is_several(verdicts: Sequence[Verdict]) -> bool:
    """Whether verdicts are on several things that must not be pooled."""
    return len({v.scope for v in verdicts if v.scope}) > 1


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


def of_scope(table: pd.DataFrame, evidence: Evidence) -> pd.DataFrame:
    """The rows of the scope that is reported first."""
    return table[table["scope"] == evidence.name] if "scope" in table else table


def trials_worth(best_of_n: pd.DataFrame, trials: pd.DataFrame) -> str:
    """What the search budget is worth, in words."""
    if trials.empty:
        return "No search was run."
    counts = trials.groupby(_study_keys(trials)).size()
    low, high = int(counts.min()), int(counts.max())
    if high == 1:
        return (
            "Every study had one trial, the recipe's first guess: nothing was tuned, and a different guess could "
            "reverse any comparison. Read nothing into the verdicts of such a run."
        )
    gains = []
    for method, part in best_of_n.groupby("method"):
        ordered = part.sort_values("n")["expected_best"].tolist()
        if len(ordered) > 1:
            last = 100 * (ordered[-1] - ordered[-2])
            total = 100 * (ordered[-1] - ordered[0])
            gains.append(f"{label(str(method))} {total:+.1f} points over {len(ordered)} trials (the last {last:+.1f})")
    spent = f"{high} finished trials" if low == high else f"{low} to {high} finished trials"
    fewest, most = _searches(trials)
    several = f"{most}" if fewest == most else f"{fewest} to {most}"
    spent += f" in each of {several} independent searches" if most > 1 else ""
    if not gains:
        return f"Every study had {spent}."
    return (
        f"Every study had {spent}. Against one trial, the expected validation accuracy of the winner rose by: "
        f"{'; '.join(gains)}. Those gains are measured on the validation images that also chose the winner, so they "
        f"flatter it. {high} trials do not find an optimum; they guard against a single unlucky guess."
    )


def winners_again(trials: pd.DataFrame, tasks: pd.DataFrame) -> str:
    """What winners reach on validation when they are chosen and with fresh seeds; empty where nothing was chosen.

    trials and tasks: the tables of one scope.
    """
    if trials.empty or tasks.empty or trials.groupby(_study_keys(trials)).size().max() == 1:
        return ""
    chosen = trials[trials["won"].astype(bool)].groupby(["method", "task"], sort=False)["val/top1"].mean()
    pairs = pd.DataFrame({"chosen": chosen, "again": tasks.set_index(["method", "task"])["val_top1"]}).dropna()
    means = 100 * pairs.groupby("method").mean().reindex(chosen.index.unique("method")).dropna()
    parts = [f"{label(m)} {c:.1f} and {a:.1f} ({a - c:+.1f})" for m, c, a in means.itertuples()]
    if not parts:
        return ""
    return (
        f"Validation top-1 of winners in %, mean over tasks, in the search and with fresh seeds: {'; '.join(parts)}. "
        "The first number chose the winner, so it flatters it."
    )


def _study_keys(trials: pd.DataFrame) -> list[str]:
    """The columns that name a study."""
    return [name for name in ("task", "method", "search") if name in trials]


def _searches(trials: pd.DataFrame) -> tuple[int, int]:
    """How many independent searches a question has, the fewest and the most."""
    if trials.empty or "search" not in trials:
        return 1, 1
    counts = trials.groupby(["task", "method"])["search"].nunique()
    return int(counts.min()), int(counts.max())
