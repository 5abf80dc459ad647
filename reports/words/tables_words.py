"""Texts in the cells of tables, and sentences on what a table holds."""

from collections.abc import Mapping, Sequence
from typing import Any

#: what varies in the intervals of a way to select
CONFIRM_NOTE = "confirm cells, seeds and groups vary"
ORACLE_NOTE = "search cells with one seed: groups vary only, and the maximum over trials flatters both sides"


def setting_words(values: Mapping[str, Any]) -> str:
    """Names with their values: ``epochs 3, crop none``."""
    return ", ".join(f"{name} {value}" for name, value in values.items())


def range_words(values: Mapping[str, Sequence[float]]) -> str:
    """Hyperparameters with their value, or the range of their values: ``lr 0.0003, kl weight 0.11 to 1.5``."""
    words = []
    for name, each in values.items():
        low, high = f"{min(each):.2g}", f"{max(each):.2g}"
        span = low
        if high != low:
            span += f" to {high}"
        words.append(f"{name.replace('_', ' ')} {span}")
    return ", ".join(words)


def first_searches(count: int) -> str:
    """``first search``, or ``first 2 searches``."""
    return "first search" if count == 1 else f"first {count} searches"


def registered_words(lr: float, kl_weight: float, interval_over: str) -> str:
    """What stands beside the registered contrast at equal settings."""
    return f"lr {lr:g}, KL weight {kl_weight:g}; t interval over {interval_over}; decides no claim"


def mean_words(values: Sequence[float]) -> str:
    """How a mean is computed: ``(0.5 + 0.25) / 2 = 0.375``."""
    terms = " + ".join(f"{value:.6g}" for value in values)
    return f"({terms}) / {len(values)} = {sum(values) / len(values):.6g}"
