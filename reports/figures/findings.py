"""What each figure shows, in a sentence for readers who do not see it: the text alternative of its image.

The sentences repeat measured numbers. They decide nothing; the claims do.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import pandas as pd

from reports.figures.style import Tables, label, prompt_words

COMPARED = ("zeroshot", "ft", "car_ft")


def finding(name: str, tables: Tables) -> str:
    """What the figure of that name shows; empty where nothing can be said in a sentence."""
    return FINDINGS[name](tables) if name in FINDINGS else ""


def _listed(found: Mapping[str, float], form: str) -> str:
    """``Zero-shot 55.3 %, FT 50.6 %``: compared methods first, missing numbers left out."""
    order = [*(m for m in COMPARED if m in found), *(m for m in found if m not in COMPARED)]
    return ", ".join(f"{label(m)} {form.format(found[m])}" for m in order if pd.notna(found[m]))


def _means(table: pd.DataFrame, column: str, methods: Sequence[str] = COMPARED) -> dict[str, float]:
    """Method -> mean of a column over its rows."""
    part = table[table["method"].isin(methods)] if methods else table
    return {str(m): float(v) for m, v in part.groupby("method", sort=False)[column].mean().items()}


def _answer(tables: Tables) -> str:
    table = tables["levels"]
    names = {
        "contexts": "Context recognition",
        "ID test": "Accuracy in distribution",
        "mean OOD": "Out of distribution",
    }
    parts = [
        f"{title}: {_listed(_means(table[table['place'] == place], 'value'), '{:.1%}')}"
        for place, title in names.items()
        if (table["place"] == place).any()
    ]
    return f"{'. '.join(parts)}."


def _differences(tables: Tables) -> str:
    table = tables["differences"]
    table = table[table["contrast"] == "CAR-FT - FT"]
    parts = []
    for where, part in table.groupby("where", sort=False):
        above, below = int((part["low"] > 0).sum()), int((part["high"] < 0).sum())
        parts.append(
            f"{where}: the interval lies above 0 on {above} of {len(part)} tasks, below 0 on {below}; "
            f"the mean is {100 * part['effect'].mean():+.1f} points"
        )
    return f"CAR-FT minus FT. {'. '.join(parts)}."


def _id_ood(tables: Tables) -> str:
    inside, outside = (_means(tables["tasks"], column) for column in ("test_top1", "ood/mean"))
    return f"Means of tasks. In distribution: {_listed(inside, '{:.1%}')}. Out: {_listed(outside, '{:.1%}')}."


def _contexts(tables: Tables) -> str:
    sums = tables["contexts"].groupby("method", sort=False)[["hits", "images"]].sum()
    shares = {str(m): float(v) for m, v in (sums["hits"] / sums["images"]).items()}
    return f"Images whose context is recognised, all contexts together: {_listed(shares, '{:.1%}')}."


def _search(tables: Tables) -> str:
    best = tables["trials"].groupby(["method", "task"], sort=False)["val/top1"].max().groupby("method").mean()
    count = len(tables["trials"])
    found = {str(m): float(v) for m, v in best.items()}
    return f"{count} trials. Best validation top-1, mean of tasks: {_listed(found, '{:.1%}')}."


def _training(tables: Tables) -> str:
    table = tables["history"]
    last = table[table["epoch"] == table.groupby("method")["epoch"].transform("max")]
    return f"Validation top-1 after the last epoch: {_listed(_means(last, 'val/top1', ()), '{:.1%}')}."


def _best_of_n(tables: Tables) -> str:
    table = tables["best_of_n"]
    gains = {str(m): 100 * float(p["expected_best"].max() - p["expected_best"].min()) for m, p in _by_method(table)}
    return f"From one to {table['n'].max()} trials the expected best rises by, in points: {_listed(gains, '{:.1f}')}."


def _one_trial(tables: Tables) -> str:
    table = tables["one_trial"]
    ends = [
        _listed({m: 100 * v for m, v in _means(table[table["ft_trials"] == n], "gain", ()).items()}, "{:+.1f}")
        for n in (table["ft_trials"].min(), table["ft_trials"].max())
    ]
    return f"Lead over FT in points, with its fewest trials: {ends[0]}; with as many trials: {ends[1]}."


def _by_method(table: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    return [(str(method), part) for method, part in table.groupby("method", sort=False)]


def _readings(tables: Tables) -> str:
    table = tables["readings"]
    where = "mean OOD" if (table["where"] == "mean OOD").any() else "ID test"
    effects = 100 * table[table["where"] == where]["effect"]
    return f"{len(effects)} readings. CAR-FT minus FT ranges from {effects.min():+.1f} to {effects.max():+.1f} points."


def _confusion(tables: Tables) -> str:
    """The wrong context that each method names most often."""
    wrong = tables["confusion"][tables["confusion"]["known"] != tables["confusion"]["named"]]
    parts = []
    for method, part in ((m, p) for m, p in _by_method(wrong) if m in COMPARED):
        named = part.groupby("named")["images"].sum()
        if named.sum():
            share, most = named.max() / named.sum(), prompt_words(str(named.idxmax()))
            parts.append(f"{label(method)} calls {100 * share:.0f} % of them “{most}”")
    return f"Of the images whose context is not recognised: {'; '.join(parts)}." if parts else "Every context is named."


def context_sentences(confusion: pd.DataFrame) -> list[str]:
    """What happens to contexts that are not recognised, a sentence for each scope; none where no context is known."""
    several = confusion["scope"].nunique() > 1
    return [
        (f"{scope}: " if several else "") + _confusion({"confusion": part})
        for scope, part in confusion.groupby("scope", sort=False)
    ]


def _reliability(tables: Tables) -> str:
    table = tables["reliability"]
    parts = [f"{where}: {_listed(_means(part, 'ece'), '{:.3f}')}" for where, part in table.groupby("where", sort=False)]
    return f"Calibration error of the context distribution. {'. '.join(parts)}."


def _kl(tables: Tables) -> str:
    ends = {m: float(part.sort_values("progress")["kl"].iloc[-1]) for m, part in _by_method(tables["kl"])}
    return f"Divergence in nats at the end of training: {_listed(ends, '{:.3f}')}."


def _lost(tables: Tables) -> str:
    parts = []
    for method, part in ((m, p) for m, p in _by_method(tables["lost"]) if m in COMPARED):
        top = part.sort_values("lost").iloc[-1]
        context = prompt_words(str(top["context"]))
        parts.append(f"{label(method)} loses most on “{context}” ({100 * top['lost']:.1f} points)")
    return f"{'; '.join(parts)}." if parts else ""


def _effective(tables: Tables) -> str:
    found = {m: 100 * v for m, v in _means(tables["robustness"], "effective").items()}
    return f"Mean height above the baseline in points: {_listed(found, '{:+.1f}')}."


def _uncertainty(tables: Tables) -> str:
    table = tables["uncertainty"]
    table = table[(table["contrast"] == "CAR-FT - FT") & (table["where"] == "ID test")]
    names = {"se_groups": "test images", "se_seeds": "seeds", "se_hyperparameters": "search"}
    means = {name: 100 * table[column].mean() for column, name in names.items() if table[column].notna().any()}
    return f"Mean standard error in points: {', '.join(f'{name} {value:.1f}' for name, value in means.items())}."


FINDINGS: Mapping[str, Callable[[Tables], str]] = {
    "answer": _answer,
    "differences": _differences,
    "id_ood": _id_ood,
    "contexts": _contexts,
    "search": _search,
    "training": _training,
    "best_of_n": _best_of_n,
    "readings": _readings,
    "one_trial": _one_trial,
    "confusion": _confusion,
    "reliability": _reliability,
    "kl": _kl,
    "lost": _lost,
    "effective": _effective,
    "uncertainty": _uncertainty,
}
