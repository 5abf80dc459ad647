"""Texts in the cells of tables, and sentences on what a table holds."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from reports.analysis.disagreements import DisagreementCount
from reports.evidence.evidence import label

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


def count_sentences(counts: Sequence[DisagreementCount]) -> list[str]:
    """A sentence for each scope: ``Class: CAR-FT right and FT wrong 60, the reverse 75, of 1,940 images.``"""
    by_scope: dict[str, list[str]] = defaultdict(list)
    for one in counts:
        by_scope[one.scope].append(
            f"{one.question}: {label('car_ft')} right and {label('ft')} wrong {one.ours:,}, "
            f"the reverse {one.theirs:,}, of {one.images:,} images"
        )
    sentences = []
    for scope, questions in by_scope.items():
        words = "; ".join(questions)
        if len(by_scope) > 1:
            sentences.append(f"{scope}, {words}.")
        else:
            sentences.append(f"{words[:1].upper()}{words[1:]}.")
    return sentences


def mean_words(values: Sequence[float]) -> str:
    """How a mean is computed: ``(0.5 + 0.25) / 2 = 0.375``."""
    terms = " + ".join(f"{value:.6g}" for value in values)
    return f"({terms}) / {len(values)} = {sum(values) / len(values):.6g}"
