"""Metrics as pure functions of predictions (numpy only): the same code scores a cell and checks a report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Predictions:
    """One row per image of an evaluated set.

    images, groups: names. labels, contexts: (N,) int64, contexts -1 where unknown. logits: (N, C) float32.
    context_logits: (N, K) float32.
    """

    images: Sequence[str]
    groups: Sequence[str]
    labels: np.ndarray
    contexts: np.ndarray
    logits: np.ndarray
    context_logits: np.ndarray

    @property
    def predicted(self) -> np.ndarray:
        """(N,) class of the largest logit."""
        return self.logits.argmax(1)

    @property
    def predicted_contexts(self) -> np.ndarray:
        """(N,) context of the largest context logit."""
        return self.context_logits.argmax(1)


def top1(predicted: np.ndarray, labels: np.ndarray) -> float:
    """Share of images whose prediction is the label."""
    return float(np.mean(predicted == labels))


def macro(predicted: np.ndarray, labels: np.ndarray) -> float:
    """Mean over the labels that occur of the share predicted right. Raises ``ValueError`` on no labels."""
    if len(labels) == 0:
        raise ValueError("macro average of no images")
    return float(np.mean([np.mean(predicted[labels == k] == k) for k in np.unique(labels)]))


def cross_entropy(logits: np.ndarray, labels: np.ndarray) -> float:
    """Mean negative log-likelihood in nats of labels (N,) under softmax of logits (N, C); float64 inside."""
    wide = logits.astype(np.float64)
    peak = wide.max(1, keepdims=True)
    log_sum = peak[:, 0] + np.log(np.exp(wide - peak).sum(1))
    return float(np.mean(log_sum - wide[np.arange(len(labels)), labels]))


def score(predictions: Predictions) -> dict[str, float]:
    """top1, mean_per_class, loss and, where contexts are known, context_top1 (macro over contexts)."""
    p = predictions
    scores = {
        "top1": top1(p.predicted, p.labels),
        "mean_per_class": macro(p.predicted, p.labels),
        "loss": cross_entropy(p.logits, p.labels),
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
