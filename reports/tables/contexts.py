"""Context recognition before and after fine-tuning, calibration of p_ctx, and the contexts that are lost first."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd

from carft.core.metrics import BINS, calibration_bins, calibration_error
from reports.analysis.levels import chance_by_scope
from reports.evidence.evidence import Entry, Evidence
from reports.evidence.outcomes import SetOutcome
from reports.tables.table import Formula, Row, Sources, TableCard, history_cells, method_cells


def _seen(evidence: Evidence, entries: Sequence[Entry]) -> Iterator[tuple[Evidence, Entry, str, str, str, SetOutcome]]:
    """(view, entry, task, cell, set, outcome) of every unsealed cell of these entries whose set has known contexts."""
    for view in evidence.views():
        for entry in entries:
            for task in view.tasks:
                for cell in view.cells(task, entry):
                    for name in view.set_names(task):
                        outcome = view.outcome(cell, name)
                        if (outcome.frame.contexts >= 0).any():
                            yield view, entry, task, cell, name, outcome


def _per_context(outcome: SetOutcome) -> Iterator[tuple[int, int, int]]:
    """(context, images recognised, images) of every known context that occurs."""
    known = outcome.frame.contexts >= 0
    contexts = outcome.frame.contexts[known]
    images, hits = np.bincount(contexts), np.bincount(contexts, outcome.context_hits[known])
    return ((int(k), int(hits[k]), int(images[k])) for k in np.flatnonzero(images))


def _plain(evidence: Evidence) -> tuple[Entry, ...]:
    return tuple(entry for entry in evidence.entries() if entry.parent is None)


def _beside_chance(table: pd.DataFrame, evidence: Evidence) -> pd.DataFrame:
    """The table with what guessing would recognise of the contexts of each row's scope, a share of 1."""
    return table.assign(chance=table["scope"].map(chance_by_scope(evidence)).astype(float))


def context_table(evidence: Evidence) -> pd.DataFrame:
    """Context recognition per entry, known context and set: hits and images, summed over tasks and seeds."""
    hits: Counter[tuple[str, ...]] = Counter()
    images: Counter[tuple[str, ...]] = Counter()
    seeds: dict[tuple[str, str], set[int]] = {}
    for view, entry, task, cell, name, outcome in _seen(evidence, _plain(evidence)):
        templates = view.card(task).contexts
        seeds.setdefault((view.name, entry.label), set()).add(view.seed(cell))
        for k, right, count in _per_context(outcome):
            key = (view.name, view.scale, entry.label, templates[k], name)
            hits[key] += right
            images[key] += count
    rows = [(*key, hits[key], count, len(seeds[key[0], key[2]])) for key, count in images.items()]
    columns = ["scope", "scale", "method", "context", "set", "hits", "images", "n_seeds"]
    table = pd.DataFrame(rows, columns=columns)
    return _beside_chance(table.assign(share=table["hits"] / table["images"]), evidence)


CONTEXTS_CARD = TableCard(
    "contexts",
    "Context recognition",
    "Images whose context is recognised, per known context and set, all tasks and seeds together.",
    lambda sources: context_table(sources.evidence),
    ("method", "context", "set"),
    shares=("share", "chance"),
    formulas={
        "share": Formula("hits / images, summed over tasks and confirm seeds."),
        "chance": Formula("Mean over tasks of 1 over the number of known contexts."),
    },
    cells=method_cells,
)


def confusion_table(evidence: Evidence) -> pd.DataFrame:
    """Known against named context per entry, ID and OOD apart: images, and their share of the known context.

    Summed over tasks and seeds; a row of the confusion matrix sums to 1 over ``named``.
    """
    counts: Counter[tuple[str, ...]] = Counter()
    for view, entry, task, _, name, outcome in _seen(evidence, _plain(evidence)):
        templates = view.card(task).contexts
        where = "ID" if name == "test" else "OOD"
        known = outcome.frame.contexts >= 0
        codes = outcome.frame.contexts[known].astype(int) * len(templates) + outcome.predicted_contexts[known]
        for code, count in zip(*np.unique(codes, return_counts=True), strict=True):
            known_name, named = (templates[i] for i in divmod(int(code), len(templates)))
            counts[view.name, view.scale, entry.label, where, known_name, named] += int(count)
    columns = ["scope", "scale", "method", "where", "known", "named", "images"]
    table = pd.DataFrame([(*key, count) for key, count in counts.items()], columns=columns)
    whole = table.groupby(columns[:5])["images"].transform("sum")
    return _beside_chance(table.assign(share=table["images"] / whole), evidence)


CONFUSION_CARD = TableCard(
    "confusion",
    "Context confusion",
    "Known against named contexts, summed over tasks and seeds.",
    lambda sources: confusion_table(sources.evidence),
    ("scope", "method", "where", "known", "named"),
    shares=("share", "chance"),
    cells=method_cells,
)


def reliability_table(evidence: Evidence) -> pd.DataFrame:
    """Calibration of p_ctx: per entry, ID and OOD, and bin of the largest probability (15 of equal width).

    confidence, recognised: means over the images of the bin. ece: of the row's entry and place, over its bins.
    """
    sums: dict[tuple[str, str, str, str], np.ndarray] = {}
    for view, entry, _, _, name, outcome in _seen(evidence, _plain(evidence)):
        known = outcome.frame.contexts >= 0
        key = (view.name, view.scale, entry.label, "ID" if name == "test" else "OOD")
        binned = calibration_bins(outcome.context_confidence[known], outcome.context_hits[known])
        sums[key] = sums.get(key, 0) + binned
    rows: list[tuple[object, ...]] = []
    for key, binned in sums.items():
        count, confidence, right = binned
        ece = calibration_error(binned)
        for k in np.flatnonzero(count):
            means = confidence[k] / count[k], right[k] / count[k]
            rows.append((*key, (k + 0.5) / BINS, *means, int(count[k]), ece))
    columns = ["scope", "scale", "method", "where", "bin", "confidence", "recognised", "images", "ece"]
    return _beside_chance(pd.DataFrame(rows, columns=columns), evidence)


RELIABILITY_CARD = TableCard(
    "reliability",
    "Calibration of p_ctx",
    "15 bins of equal width; ece is that of the method and place.",
    lambda sources: reliability_table(sources.evidence),
    ("scope", "method", "where", "bin"),
    shares=("confidence", "recognised", "ece", "chance"),
    cells=method_cells,
)


def lost_table(evidence: Evidence) -> pd.DataFrame:
    """Recognition of each context along WiSE-FT's line from the pretrained (alpha 0) to the tuned model (alpha 1).

    One row per scope, method and context, the largest loss first: recognition at both ends, their difference, and
    ``half_at``, the smallest alpha with half of the loss. The line interpolates weights; it is not training time.
    """
    rows = []
    for view in evidence.views():
        alphas = view.alphas()
        for method in dict.fromkeys(s.method for s in view.studies):
            shares = {alpha: _recognition(view, Entry("wise_ft", method, alpha)) for alpha in alphas}
            if not alphas or not shares[alphas[0]] or alphas[0] != 0 or alphas[-1] != 1:
                continue
            for context, (start, images) in shares[0.0].items():
                end = shares[1.0].get(context, (np.nan, 0))[0]
                half = [
                    a for a in alphas if context in shares[a] and start - shares[a][context][0] >= (start - end) / 2
                ]
                half_at = half[0] if start > end and half else np.nan
                rows.append((view.name, view.scale, method, context, start, end, start - end, half_at, images))
    columns = ["scope", "scale", "method", "context", "pretrained", "tuned", "lost", "half_at", "images"]
    table = _beside_chance(pd.DataFrame(rows, columns=columns), evidence)
    return table.sort_values(["scope", "method", "lost"], ascending=[True, True, False], ignore_index=True)


def _line_cells(sources: Sources, row: Row) -> Sequence[str]:
    """Interpolations of the method of a row at every alpha, on every task of its scope."""
    alphas = sources.view(row).alphas()
    return sources.cells(row, [Entry("wise_ft", row["method"], alpha) for alpha in alphas])


LOST_CARD = TableCard(
    "lost",
    "Which contexts are lost first",
    "Recognition before and after, and the alpha of WiSE-FT's line at which half of the loss is there.",
    lambda sources: lost_table(sources.evidence),
    ("scope", "method", "context"),
    shares=("pretrained", "tuned", "chance"),
    points=("lost",),
    cells=_line_cells,
)


def _recognition(view: Evidence, entry: Entry) -> dict[str, tuple[float, int]]:
    """context -> (share of images that are recognised, images), all tasks, seeds and sets together."""
    right: Counter[str] = Counter()
    images: Counter[str] = Counter()
    for _, _, task, _, _, outcome in _seen(view.alone(), [entry]):
        templates = view.card(task).contexts
        for k, hits, count in _per_context(outcome):
            right[templates[k]] += hits
            images[templates[k]] += count
    return {context: (right[context] / count, count) for context, count in images.items()}


def kl_table(evidence: Evidence) -> pd.DataFrame:
    """The KL divergence over training: per scope, method and tenth of the steps, the mean over confirm cells.

    Row 0 is the first step, which is logged before any update. ``progress`` is the share of steps at the tenth's end.
    """
    curves: dict[tuple[str, str, str], list[np.ndarray]] = {}
    for view, study, _, history in evidence.confirm_histories():
        kl = history.get("train/kl")
        if kl is not None and len(kl):
            tenths = np.array([part.mean() if len(part) else np.nan for part in np.array_split(kl, 10)])
            key = (view.name, view.scale, str(study.method))
            curves.setdefault(key, []).append(np.concatenate([kl[:1], tenths]))
    columns = ["scope", "scale", "method", "progress", "kl", "n_cells"]
    rows: list[tuple[object, ...]] = []
    for key, of_key in curves.items():
        means = np.ma.masked_invalid(np.stack(of_key)).mean(axis=0).filled(np.nan)
        rows += [(*key, place / 10, float(mean), len(of_key)) for place, mean in enumerate(means)]
    return pd.DataFrame(rows, columns=columns)


KL_CARD = TableCard(
    "kl",
    "The divergence over training",
    "Means over confirm cells, in nats; progress 0 is the first step.",
    lambda sources: kl_table(sources.evidence),
    ("scope", "method", "progress"),
    cells=history_cells,
)
