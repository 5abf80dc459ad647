"""Metrics as pure functions of predictions (numpy only): the same code scores a cell and checks a report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

#: how many logits are kept of each image of a large set
KEPT = 10


@dataclass(frozen=True)
class Largest:
    """What is kept of the logits of a large set, enough for its metrics but not for every re-scoring.

    classes, values: (N, 10), the largest logits, largest first. label: (N,) the label's. log_sum: (N,) logsumexp, both
    over the classes that the set is scored over.
    """

    classes: np.ndarray
    values: np.ndarray
    label: np.ndarray
    log_sum: np.ndarray


@dataclass(frozen=True)
class Predictions:
    """One row per image of an evaluated set.

    images, groups: names. labels, contexts: (N,) int64, contexts -1 where unknown. logits: (N, C) float32, all of
    them, or the largest. context_logits: (N, K) float32. subset: the classes that the set is scored over, ascending;
    None for all.
    """

    images: Sequence[str]
    groups: Sequence[str]
    labels: np.ndarray
    contexts: np.ndarray
    logits: np.ndarray | Largest
    context_logits: np.ndarray
    subset: tuple[int, ...] | None = None

    @property
    def predicted(self) -> np.ndarray:
        """(N,) class of the largest logit among those that are scored."""
        if isinstance(self.logits, Largest):
            return self.logits.classes[:, 0]
        if self.subset is None:
            return self.logits.argmax(1)
        classes = np.asarray(self.subset)
        return classes[self.logits[:, classes].argmax(1)]

    @property
    def predicted_contexts(self) -> np.ndarray:
        """(N,) context of the largest context logit."""
        return self.context_logits.argmax(1)

    @property
    def log_likelihood(self) -> np.ndarray:
        """(N,) natural logarithm of the label's probability under softmax over the scored classes; float64."""
        if isinstance(self.logits, Largest):
            return self.logits.label.astype(np.float64) - self.logits.log_sum
        logits, labels = self.logits, self.labels
        if self.subset is not None:
            classes = np.asarray(self.subset)
            logits, labels = logits[:, classes], np.searchsorted(classes, labels)
        return -negative_log_likelihood(logits, labels)

    @property
    def confidence(self) -> np.ndarray:
        """(N,) probability of the predicted class under softmax over the scored classes."""
        if isinstance(self.logits, Largest):
            return np.exp(self.logits.values[:, 0].astype(np.float64) - self.logits.log_sum)
        logits = self.logits if self.subset is None else self.logits[:, np.asarray(self.subset)]
        return np.exp(-negative_log_likelihood(logits, logits.argmax(1)))

    def condensed(self) -> Predictions:
        """The same with the largest logits only."""
        if isinstance(self.logits, Largest):
            return self
        classes = np.arange(self.logits.shape[1]) if self.subset is None else np.asarray(self.subset)
        scored = self.logits[:, classes]
        best = np.argsort(-scored, axis=1, kind="stable")[:, :KEPT]
        label = self.logits[np.arange(len(self.labels)), self.labels]
        largest = Largest(classes[best], np.take_along_axis(scored, best, 1), label, label - self.log_likelihood)
        return replace(self, logits=largest)


def merge_classes(logits: np.ndarray, merged: Sequence[Sequence[int]]) -> np.ndarray:
    """Logits (N, C) in which the first class of each group has the largest logit of its group.

    Scored over the first classes, a prediction of any class of a group is one of the first: so WiSE-FT projects 1000
    ImageNet classes on ObjectNet's 113. Softmax over the first classes is over these maxima.
    """
    whole = logits.copy() if merged else logits
    for group in merged:
        whole[:, group[0]] = logits[:, list(group)].max(1)
    return whole


def top1(predicted: np.ndarray, labels: np.ndarray) -> float:
    """Share of images whose prediction is the label."""
    return float(np.mean(predicted == labels))


def macro(predicted: np.ndarray, labels: np.ndarray) -> float:
    """Mean over the labels that occur of the share predicted right. Raises ``ValueError`` on no labels."""
    if len(labels) == 0:
        raise ValueError("macro average of no images")
    return float(np.mean([np.mean(predicted[labels == k] == k) for k in np.unique(labels)]))


def negative_log_likelihood(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """(N,) in nats, of labels (N,) under softmax of logits (N, C); float64."""
    wide = logits.astype(np.float64)
    peak = wide.max(1, keepdims=True)
    log_sum = peak[:, 0] + np.log(np.exp(wide - peak).sum(1))
    return log_sum - wide[np.arange(len(labels)), labels]


def score(predictions: Predictions) -> dict[str, float]:
    """top1, mean_per_class, loss and, where contexts are known, context_top1 (macro over contexts)."""
    p = predictions
    scores = {
        "top1": top1(p.predicted, p.labels),
        "mean_per_class": macro(p.predicted, p.labels),
        "loss": float(np.mean(-p.log_likelihood)),
    }
    known = p.contexts >= 0
    if known.any():
        scores["context_top1"] = macro(p.predicted_contexts[known], p.contexts[known])
    return scores


def flatten(name: str, scores: Mapping[str, float]) -> dict[str, float]:
    """Scores under the flat names of a record: ``val`` -> ``val/top1``, ``ood/hands`` -> ``ood/hands/top1``."""
    return {f"{name}/{metric}": value for metric, value in scores.items()}


def ood_means(metrics: Mapping[str, float]) -> dict[str, float]:
    """Unweighted means over the suites: ood/mean/top1, ood/mean/mean_per_class and ood/context_top1."""
    means = {}
    for metric, name in (
        ("top1", "ood/mean/top1"),
        ("mean_per_class", "ood/mean/mean_per_class"),
        ("context_top1", "ood/context_top1"),
    ):
        values = [
            v for k, v in metrics.items() if k.startswith("ood/") and k.count("/") == 2 and k.endswith(f"/{metric}")
        ]
        if values:
            means[name] = float(np.mean(values))
    return means
