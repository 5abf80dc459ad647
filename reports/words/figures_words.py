"""What figures show on these records: the text alternatives of their images."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from carft.config.registry import METHODS, MethodCard
from reports.evidence import evidence
from reports.evidence.evidence import label

#: methods by name
Methods = Mapping[str, MethodCard]
#: methods that figures and sentences about contexts compare
COMPARED = tuple(entry.label for entry in evidence.COMPARED)
#: place of the table of levels -> title of its panel
PANELS = {"contexts": "context recognition", "ID test": "in distribution", "mean OOD": "out of distribution"}


def prompt_words(prompt: str) -> str:
    """A prompt as a label: ``a sketch of a {}.`` is "a sketch of a [class]"."""
    return prompt.replace("{}.", "{}").replace("{}", "[class]").strip()


def listing(shares: pd.Series, methods: Methods = METHODS) -> str:
    """``zero-shot 55.3%, FT 50.6%`` of shares by method: compared methods first, missing numbers left out."""
    known = shares.dropna()
    words = []
    for method in dict.fromkeys((*COMPARED, *known.index)):
        if method in known:
            words.append(f"{label(method, methods)} {known[method]:.1%}")
    return ", ".join(words)


def _listed_means(table: pd.DataFrame, column: str) -> str:
    """The means of a column over the rows of each compared method."""
    compared = table[table["method"].isin(COMPARED)]
    return listing(compared.groupby("method", sort=False)[column].mean())


def levels_words(table: pd.DataFrame) -> str:
    """What the compared methods reach at each place of the table of levels."""
    sentences = []
    for place, title in PANELS.items():
        part = table[table["place"] == place]
        if part.empty:
            continue
        chance, by_chance = 100 * part["chance"].iloc[0], ""
        if not np.isnan(chance):
            by_chance = f" (chance {chance:.1f}%)"
        sentences.append(f"{title.capitalize()}{by_chance}: {_listed_means(part, 'value')}.")
    return " ".join(sentences)


def differences_words(table: pd.DataFrame) -> str:
    """On how many tasks an interval of CAR-FT minus FT excludes 0, and the mean. table: rows of this contrast."""
    places = []
    for place, part in table.groupby("where", sort=False):
        above, below = int((part["low"] > 0).sum()), int((part["high"] < 0).sum())
        places.append(
            f"{place}: the interval lies above 0 on {above} of {len(part)} tasks, below 0 on {below}; "
            f"the mean is {100 * part['effect'].mean():+.1f} points"
        )
    return f"CAR-FT minus FT. {'. '.join(places)}."


def id_ood_words(table: pd.DataFrame) -> str:
    """What the compared methods reach in and out of distribution, mean over tasks."""
    inside, outside = _listed_means(table, "test_top1"), _listed_means(table, "ood/mean")
    return f"Means of tasks. In distribution: {inside}. Out: {outside}."


def readings_words(curve: pd.DataFrame) -> str:
    """The range of the effects of all readings. curve: a row for each."""
    least, most = 100 * curve["effect"].min(), 100 * curve["effect"].max()
    return f"{len(curve)} readings. CAR-FT minus FT ranges from {least:+.1f} to {most:+.1f} points."


def equal_settings_words(lines: pd.DataFrame) -> str:
    """The range of the differences at equal settings of each contrast and place, and how many bands exclude 0."""
    sentences = []
    for (contrast, place), part in lines.groupby(["contrast", "where"], sort=False):
        apart = ((part["band_low"] > 0) | (part["band_high"] < 0)).sum()
        ends = f"{100 * part['effect'].min():+.1f} to {100 * part['effect'].max():+.1f}"
        sentences.append(f"{contrast}, {place}: {ends} points, {apart} of {len(part)} bands exclude 0.")
    return " ".join(sentences)


def recognised_words(shares: pd.Series, chance: float, methods: Methods) -> str:
    """The share of images whose context is recognised, by method. chance: a share of 1."""
    return f"Images whose context is recognised (chance {100 * chance:.1f}%): {listing(shares, methods)}."


def confused_words(table: pd.DataFrame) -> str:
    """The wrong context that each compared method names most often. table: rows of ``confusion`` of one scope."""
    is_wrong = (table["known"] != table["named"]) & (table["images"] > 0)
    wrong = table[is_wrong & table["method"].isin(COMPARED)]
    if wrong.empty:
        return "Every context is named."
    parts = []
    for method, part in wrong.groupby("method", sort=False):
        named = part.groupby("named")["images"].sum()
        share, most = named.max() / named.sum(), prompt_words(str(named.idxmax()))
        parts.append(f"{label(str(method))} calls {100 * share:.0f} % of them “{most}”")
    return f"Of the images whose context is not recognised: {'; '.join(parts)}."


def confusion_sentences(table: pd.DataFrame) -> list[str]:
    """What happens to contexts that are not recognised, a sentence for each scope; none where no context is known."""
    sentences = []
    for scope, part in table.groupby("scope", sort=False):
        words = confused_words(part)
        if table["scope"].nunique() > 1:
            words = f"{scope}: {words}"
        sentences.append(words)
    return sentences


def search_words(trials: pd.DataFrame, methods: Methods) -> str:
    """The number of trials, and the best on validation of each method, mean over tasks."""
    best = trials.groupby(["method", "task"], sort=False)["val/top1"].max().groupby("method").mean()
    return f"{len(trials)} trials. Best validation top-1, mean of tasks: {listing(best, methods)}."


def training_words(history: pd.DataFrame, methods: Methods) -> str:
    """What each method reaches on validation after its last epoch."""
    last = history[history["epoch"] == history.groupby("method")["epoch"].transform("max")]
    shares = last.groupby("method", sort=False)["val/top1"].mean()
    return f"Validation top-1 after the last epoch: {listing(shares, methods)}."


def image_words(label_words: str, context: str) -> str:
    """The text alternative of a picture: its class and context."""
    return f"{label_words}, {prompt_words(context)}"


def disagreement_words(label_words: str, context: str, task: str) -> str:
    """The text alternative of a picture on which methods disagree. context: empty where it is not known."""
    if context:
        label_words += f" as “{prompt_words(context)}”"
    return f"{label_words}, from {task}"
