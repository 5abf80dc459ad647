"""Whether two searches differ in the method alone: the condition under which their winners may be compared.

Both sides need the same range of every hyperparameter that the registry calls by one name for both, the same search
seed, round size, precision, training recipe and early stopping. The number of trials is compared where it is counted,
over the trials that ended.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from carft.spec.cell import Training
from carft.spec.registry import METHODS

#: field of study.json -> (what it is called, its value where the file does not have it)
SETTINGS: Mapping[str, tuple[str, Any]] = {
    "search_seed": ("search seed", 0),
    "round_size": ("round size", 0),
    "precision": ("precision", "float32"),
    "rungs": ("early stopping", []),
}


def differences(first: Mapping[str, Any], second: Mapping[str, Any]) -> list[str]:
    """What two studies differ in besides the method and what is its own, in words; empty when they are comparable."""
    names = (first["method"], second["method"])
    found = [
        _words(f"range of the {what}", names, ranges)
        for what, ranges in _shared_ranges(first, second).items()
        if ranges[0] != ranges[1]
    ]
    for name, (what, default) in SETTINGS.items():
        pair = [study.get(name, default) for study in (first, second)]
        if pair[0] != pair[1]:
            found.append(_words(what, names, [_setting(name, value) for value in pair]))
    recipes = [{**asdict(Training()), **study["training"]} for study in (first, second)]
    for name in sorted({*recipes[0], *recipes[1]}):
        pair = [recipe.get(name) for recipe in recipes]
        if pair[0] != pair[1]:
            found.append(_words(f"training recipe ({name.replace('_', ' ')})", names, pair))
    return found


def _shared_ranges(first: Mapping[str, Any], second: Mapping[str, Any]) -> dict[str, tuple[str, str]]:
    """Name across methods -> the range in each of the two studies, for the hyperparameters that both have."""
    ours, theirs = (_ranges(study) for study in (first, second))
    return {what: (ours[what], theirs[what]) for what in ours if what in theirs}


def _ranges(study: Mapping[str, Any]) -> dict[str, str]:
    """Name across methods -> the range of the study, in words."""
    card, space = METHODS.get(study["method"]), study.get("space") or {}
    return {what: _range(space.get(name)) for name, what in (card.shares if card else {}).items()}


def _range(limits: Sequence[float] | None) -> str:
    if limits is None:
        return "not on record"
    low, high, first = limits
    return f"{low:g} to {high:g} from {first:g}"


def _setting(name: str, value: Any) -> Any:
    return (f"at epochs {', '.join(map(str, value))}" if value else "off") if name == "rungs" else value


def _words(what: str, names: tuple[str, str], values: Sequence[Any]) -> str:
    said = [f"{name} {value}" for name, value in zip(names, values, strict=True)]
    return f"the {what} ({' against '.join(said)})"
