"""Whether two searches differ in the method alone: the condition under which their winners may be compared.

Both sides need the same range of every hyperparameter that the registry calls by one name for both, the same search
seed, sampler, selection, precision and training recipe. Of several independent searches, search k of one side is
compared with search k of the other. The number of trials is compared where it is counted, over the trials that ended.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from carft.config.cell import Training
from carft.config.registry import METHODS, MethodCard
from carft.config.study import first_search_seed
from carft.store.study import StudyFile

#: what must be the same -> how a study states it; further searches are compared by the seed of the first one
SETTINGS: Mapping[str, Callable[[StudyFile], Any]] = {
    "search seed": lambda study: first_search_seed(study.search_seed, study.search),
    "sampler": lambda study: study.sampler or f"in rounds of {study.round_size}",
    "selection": lambda study: study.selection,
    "precision": lambda study: study.precision,
    "evaluation view": lambda study: study.eval_view,
    "holdout": lambda study: study.holdout,
    "target split": lambda study: study.target_split,
}

#: of the training recipe, what no method may have as its own where it is compared: how much it trains
BUDGET = {"epochs", "steps", "batch_size"}


def differences(first: StudyFile, second: StudyFile, methods: Mapping[str, MethodCard] = METHODS) -> list[str]:
    """What two studies differ in besides the method and what is its own, in words; empty when they are comparable."""
    studies = (first, second)
    ours, theirs = (_ranges(study, methods) for study in studies)
    stated: dict[str, Sequence[Any]] = {
        f"range of the {what}": (ours[what], theirs[what]) for what in ours if what in theirs
    }
    stated |= {what: [setting(study) for study in studies] for what, setting in SETTINGS.items()}
    recipes = [{**asdict(Training()), **study.training.content()} for study in studies]
    own = {name for study in studies if (known := methods.get(study.method)) for name in known.own_training} - BUDGET
    for name in sorted({*recipes[0], *recipes[1]} - own):
        stated[f"training recipe ({name.replace('_', ' ')})"] = [recipe.get(name) for recipe in recipes]
    return [
        f"the {what} ({first.method} {pair[0]} against {second.method} {pair[1]})"
        for what, pair in stated.items()
        if pair[0] != pair[1]
    ]


def _ranges(study: StudyFile, methods: Mapping[str, MethodCard]) -> dict[str, str]:
    """Name across methods -> the range of the study, in words."""
    words = {name: f"{low:g} to {high:g} from {first:g}" for name, (low, high, first) in study.space.items()}
    card = methods.get(study.method)
    return {what: words.get(name, "not on record") for name, what in (card.shares if card else {}).items()}
