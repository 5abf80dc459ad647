"""Metrics as pure functions of predictions, in numpy. Training and reports use the same code."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import pyarrow as pa

#: how many logits per image are stored of a large set
KEPT = 10
#: logits of the rows that are computed with at a time: copies of all of a large set would fill the memory
PART = 2**18


@dataclass(frozen=True)
class Largest:
    """The stored part of the logits of a large set: enough for its metrics, but not for every new class list."""

    classes: np.ndarray
    """(N, 10) int64: classes of the largest logits among the scored classes, largest first."""
    values: np.ndarray
    """(N, 10) float32: their logits."""
    label: np.ndarray
    """(N,) float32: logit of the label."""
    log_sum: np.ndarray
    """(N,) float64: logsumexp over the scored classes."""


@dataclass(frozen=True)
class Predictions:
    """Predictions on an evaluated set, one row per image."""

    images: Sequence[str]
    """N image names."""
    groups: Sequence[str]
    """N names of resampling units."""
    labels: np.ndarray
    """(N,) int64 class indices."""
    contexts: np.ndarray
    """(N,) int64 context indices; -1 where the context is unknown."""
    logits: np.ndarray | Largest
    """(N, C) float32, or the largest of each row."""
    context_logits: np.ndarray
    """(N, K) float32."""
    subset: tuple[int, ...] | None = None
    """Scored classes, ascending; None for all."""

    @property
    def predicted(self) -> np.ndarray:
        """(N,) class of the largest logit among the scored classes."""
        if isinstance(self.logits, Largest):
            return self.logits.classes[:, 0]
        if self.subset is None:
            return self.logits.argmax(1)
        classes = np.asarray(self.subset)
        parts = [self.logits[rows][:, classes].argmax(1) for rows in _parts(self.logits)]
        return classes[np.concatenate(parts)]

    @property
    def predicted_contexts(self) -> np.ndarray:
        """(N,) context of the largest context logit."""
        return self.context_logits.argmax(1)

    @property
    def log_likelihood(self) -> np.ndarray:
        """(N,) natural logarithm of the label's probability under softmax over the scored classes; float64."""
        if isinstance(self.logits, Largest):
            return self.logits.label.astype(np.float64) - self.logits.log_sum
        if self.subset is None:
            return -negative_log_likelihood(self.logits, self.labels)
        classes = np.asarray(self.subset)
        labels, parts = np.searchsorted(classes, self.labels), []
        for rows in _parts(self.logits):
            parts.append(negative_log_likelihood(self.logits[rows][:, classes], labels[rows]))
        return -np.concatenate(parts)

    def condensed(self) -> Predictions:
        """Return a copy that holds the largest logits only."""
        if isinstance(self.logits, Largest):
            return self
        classes = np.arange(self.logits.shape[1]) if self.subset is None else np.asarray(self.subset)
        largest, values = [], []
        for rows in _parts(self.logits):
            scored = self.logits[rows][:, classes]
            best = np.argsort(-scored, axis=1, kind="stable")[:, :KEPT]
            largest.append(classes[best])
            values.append(np.take_along_axis(scored, best, 1))
        label = self.logits[np.arange(len(self.labels)), self.labels]
        log_sum = label - self.log_likelihood
        return replace(self, logits=Largest(np.concatenate(largest), np.concatenate(values), label, log_sum))


def _parts(logits: np.ndarray) -> Iterator[slice]:
    """Slices of all rows of logits (N, C), with about :data:`PART` logits each; at least one, which may be empty.

    None has one row of several: numpy adds up a single row of selected columns in another order.
    """
    count, width = logits.shape
    parts = max(1, min(math.ceil(count * width / PART), count // 2))
    for number in range(parts):
        yield slice(count * number // parts, count * (number + 1) // parts)


@dataclass(frozen=True, eq=False)
class Frame:
    """The images of a set, shared by all cells that were evaluated on them."""

    images: pa.Array
    """N names."""
    groups: np.ndarray
    """(N,) codes into ``group_names``."""
    group_names: np.ndarray
    """Names of the groups of images that depend on each other, such as one drawing in several contexts."""
    labels: np.ndarray
    """(N,) indices of the true classes."""
    contexts: np.ndarray
    """(N,) indices of the true contexts; -1 where one is unknown."""

    def weights(self, what: str) -> np.ndarray:
        """Weights (N,) that sum to 1, so that a metric is their dot product with the hits.

        what: ``top1``, ``mean_per_class`` or ``context``, in which images of unknown contexts have weight 0.
        """
        if what == "top1":
            return np.full(len(self.labels), 1 / len(self.labels))
        return self._context_weights if what == "context" else self._class_weights

    @cached_property
    def _class_weights(self) -> np.ndarray:
        return _equal_kinds(self.labels)

    @cached_property
    def _context_weights(self) -> np.ndarray:
        return _equal_kinds(self.contexts)


def _equal_kinds(of: np.ndarray) -> np.ndarray:
    """Weights (N,) under which every kind of image counts alike; 0 where the kind is unknown, that is, negative."""
    counted = of >= 0
    kinds, index, counts = np.unique(of[counted], return_inverse=True, return_counts=True)
    weights = np.zeros(len(of))
    weights[counted] = 1 / (len(kinds) * counts[index])
    return weights


@dataclass(frozen=True, eq=False)
class Outcomes:
    """Predictions of a cell on a set without their logits, in the order of the images of the frame."""

    frame: Frame
    predicted: np.ndarray
    """(N,) indices of the predicted classes."""
    predicted_contexts: np.ndarray
    """(N,) indices of the predicted contexts."""

    @property
    def nbytes(self) -> int:
        """Bytes of what it holds beside the frame, which cells share."""
        return self.predicted.nbytes + self.predicted_contexts.nbytes

    @property
    def labels(self) -> np.ndarray:
        """(N,) indices of the true classes."""
        return self.frame.labels

    @property
    def contexts(self) -> np.ndarray:
        """(N,) indices of the true contexts; -1 where one is unknown."""
        return self.frame.contexts


def merge_classes(logits: np.ndarray, merged: Sequence[Sequence[int]]) -> np.ndarray:
    """Return logits (N, C) in which the first class of each group has the largest logit of its group.

    Among the first classes, a prediction of any class of a group counts for the first. WiSE-FT projects the 1000
    ImageNet classes on the 113 of ObjectNet in the same way. Softmax over the first classes uses these maxima.
    """
    result = logits.copy() if merged else logits
    for group in merged:
        result[:, group[0]] = logits[:, list(group)].max(1)
    return result


def macro_accuracy(predicted: np.ndarray, labels: np.ndarray) -> float:
    """Mean of the accuracies per label, over the labels that occur. Raises ``ValueError`` without images."""
    if len(labels) == 0:
        raise ValueError("macro average of no images")
    _, which = np.unique(labels, return_inverse=True)
    return float(np.mean(np.bincount(which, predicted == labels) / np.bincount(which)))


def negative_log_likelihood(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """(N,) in nats, of labels (N,) under softmax of logits (N, C); float64.

    ``scipy.special.logsumexp`` differs in the last bit on up to a tenth of the rows, which would change stored losses.
    """
    likelihoods = []
    for rows in _parts(logits):
        wide = logits[rows].astype(np.float64)
        peak = wide.max(1, keepdims=True)
        log_sum = peak[:, 0] + np.log(np.exp(wide - peak).sum(1))
        likelihoods.append(log_sum - wide[np.arange(len(wide)), labels[rows]])
    return np.concatenate(likelihoods)


def score(predictions: Predictions) -> dict[str, float]:
    """Return ``loss`` (cross-entropy) and the metrics of :func:`score_classes`."""
    return {**score_classes(predictions), "loss": float(np.mean(-predictions.log_likelihood))}


def score_classes(p: Predictions | Outcomes) -> dict[str, float]:
    """Return ``top1``, ``mean_per_class`` and, where contexts are known, ``context_top1`` (mean over contexts)."""
    scores = {"top1": float(np.mean(p.predicted == p.labels)), "mean_per_class": macro_accuracy(p.predicted, p.labels)}
    is_labelled = p.contexts >= 0
    if is_labelled.any():
        scores["context_top1"] = macro_accuracy(p.predicted_contexts[is_labelled], p.contexts[is_labelled])
    return scores


def with_prefix(name: str, scores: Mapping[str, float]) -> dict[str, float]:
    """Return scores under the flat names of a record: ``val`` -> ``val/top1``, ``ood/hands`` -> ``ood/hands/top1``."""
    return {f"{name}/{metric}": value for metric, value in scores.items()}


def ood_means(metrics: Mapping[str, float]) -> dict[str, float]:
    """Return means over suites: ``ood/mean/top1``, ``ood/mean/mean_per_class`` and ``ood/context_top1``."""
    names = {"top1": "ood/mean/top1", "mean_per_class": "ood/mean/mean_per_class", "context_top1": "ood/context_top1"}
    values: dict[str, list[float]] = {name: [] for name in names.values()}
    for key, value in metrics.items():
        first, _, rest = key.partition("/")
        _, slash, metric = rest.partition("/")
        if first == "ood" and slash and metric in names:
            values[names[metric]].append(value)
    return {name: float(np.mean(of_suites)) for name, of_suites in values.items() if of_suites}
