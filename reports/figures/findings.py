"""What each figure shows, in a sentence for readers who do not see it: the text alternative of its image.

The sentences repeat measured numbers. They decide nothing; the claims do.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from reports.figures.style import COMPARED, Tables, by_method, label, prompt_words


def _listed(found: Mapping[str, float], form: str) -> str:
    """``Zero-shot 55.3 %, FT 50.6 %``: compared methods first, missing numbers left out."""
    order = [*(m for m in COMPARED if m in found), *(m for m in found if m not in COMPARED)]
    return ", ".join(f"{label(m)} {form.format(found[m])}" for m in order if pd.notna(found[m]))


def _means(table: pd.DataFrame, column: str, methods: Sequence[str] = COMPARED) -> dict[str, float]:
    """Method -> mean of a column over its rows."""
    part = table[table["method"].isin(methods)] if methods else table
    return {str(m): float(v) for m, v in part.groupby("method", sort=False)[column].mean().items()}


def answer(tables: Tables) -> str:
    table = tables["levels"]
    names = {
        "contexts": "Context recognition",
        "ID test": "Accuracy in distribution",
        "mean OOD": "Out of distribution",
    }
    parts = []
    for place, title in names.items():
        rows = table[table["place"] == place]
        if len(rows):
            chance = rows["chance"].mean()
            beside = "" if pd.isna(chance) else f" (chance {chance:.1%})"
            parts.append(f"{title}{beside}: {_listed(_means(rows, 'value'), '{:.1%}')}")
    return f"{'. '.join(parts)}."


def differences(tables: Tables) -> str:
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


def id_ood(tables: Tables) -> str:
    inside, outside = (_means(tables["tasks"], column) for column in ("test_top1", "ood/mean"))
    return f"Means of tasks. In distribution: {_listed(inside, '{:.1%}')}. Out: {_listed(outside, '{:.1%}')}."


def contexts(tables: Tables) -> str:
    sums = tables["contexts"].groupby("method", sort=False)[["hits", "images"]].sum()
    shares = {str(m): float(v) for m, v in (sums["hits"] / sums["images"]).items()}
    return f"Images whose context is recognised, all contexts together: {_listed(shares, '{:.1%}')}."


def search(tables: Tables) -> str:
    best = tables["trials"].groupby(["method", "task"], sort=False)["val/top1"].max().groupby("method").mean()
    count = len(tables["trials"])
    found = {str(m): float(v) for m, v in best.items()}
    return f"{count} trials. Best validation top-1, mean of tasks: {_listed(found, '{:.1%}')}."


def training(tables: Tables) -> str:
    table = tables["history"]
    last = table[table["epoch"] == table.groupby("method")["epoch"].transform("max")]
    return f"Validation top-1 after the last epoch: {_listed(_means(last, 'val/top1', ()), '{:.1%}')}."


def best_of_n(tables: Tables) -> str:
    table = tables["best_of_n"]
    gains = {str(m): 100 * float(p["expected_best"].max() - p["expected_best"].min()) for m, p in by_method(table)}
    return f"From one to {table['n'].max()} trials the expected best rises by, in points: {_listed(gains, '{:.1f}')}."


def one_trial(tables: Tables) -> str:
    table = tables["one_trial"]
    ends = [
        _listed({m: 100 * v for m, v in _means(table[table["ft_trials"] == n], "gain", ()).items()}, "{:+.1f}")
        for n in (table["ft_trials"].min(), table["ft_trials"].max())
    ]
    return f"Lead over FT in points, with its fewest trials: {ends[0]}; with as many trials: {ends[1]}."


def readings(tables: Tables) -> str:
    table = tables["readings"]
    where = "mean OOD" if (table["where"] == "mean OOD").any() else "ID test"
    effects = 100 * table[table["where"] == where]["effect"]
    return f"{len(effects)} readings. CAR-FT minus FT ranges from {effects.min():+.1f} to {effects.max():+.1f} points."


def confusion(tables: Tables) -> str:
    """The wrong context that each method names most often."""
    wrong = tables["confusion"][tables["confusion"]["known"] != tables["confusion"]["named"]]
    parts = []
    for method, part in ((m, p) for m, p in by_method(wrong) if m in COMPARED):
        named = part.groupby("named")["images"].sum()
        if named.sum():
            share, most = named.max() / named.sum(), prompt_words(str(named.idxmax()))
            parts.append(f"{label(method)} calls {100 * share:.0f} % of them “{most}”")
    return f"Of the images whose context is not recognised: {'; '.join(parts)}." if parts else "Every context is named."


def context_sentences(table: pd.DataFrame) -> list[str]:
    """What happens to contexts that are not recognised, a sentence for each scope; none where no context is known."""
    several = table["scope"].nunique() > 1
    return [
        (f"{scope}: " if several else "") + confusion({"confusion": part})
        for scope, part in table.groupby("scope", sort=False)
    ]


def reliability(tables: Tables) -> str:
    table = tables["reliability"]
    parts = [f"{where}: {_listed(_means(part, 'ece'), '{:.3f}')}" for where, part in table.groupby("where", sort=False)]
    return f"Calibration error of the context distribution. {'. '.join(parts)}."


def kl(tables: Tables) -> str:
    ends = {m: float(part.sort_values("progress")["kl"].iloc[-1]) for m, part in by_method(tables["kl"])}
    return f"Divergence in nats at the end of training: {_listed(ends, '{:.3f}')}."


def lost(tables: Tables) -> str:
    parts = []
    for method, part in ((m, p) for m, p in by_method(tables["lost"]) if m in COMPARED):
        top = part.sort_values("lost").iloc[-1]
        context = prompt_words(str(top["context"]))
        parts.append(f"{label(method)} loses most on “{context}” ({100 * top['lost']:.1f} points)")
    return f"{'; '.join(parts)}." if parts else ""


def effective(tables: Tables) -> str:
    found = {m: 100 * v for m, v in _means(tables["robustness"], "effective").items()}
    return f"Mean height above the baseline in points: {_listed(found, '{:+.1f}')}."


def uncertainty(tables: Tables) -> str:
    table = tables["uncertainty"]
    table = table[(table["contrast"] == "CAR-FT - FT") & (table["where"] == "ID test")]
    names = {"se_groups": "test images", "se_seeds": "seeds", "se_hyperparameters": "search"}
    means = {name: 100 * table[column].mean() for column, name in names.items() if table[column].notna().any()}
    return f"Mean standard error in points: {', '.join(f'{name} {value:.1f}' for name, value in means.items())}."
