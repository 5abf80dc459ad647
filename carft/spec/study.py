"""What identifies a study, and the seeds that follow from it. Pure functions of what study.json says; no torch."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from carft.spec.cell import stable_hash

#: what study.json holds besides what identifies the study
BOOKKEEPING = ("id", "seed", "trials", "winner", "confirm", "oracle", "too_few", "extended_from")
#: what the sampler's seed does not depend on: every method and reading of a task tries the same learning rates
NOT_IN_SEED = ("method", "space", "reading", "training", "rungs")
#: each search of a study has a block of seeds of its own: the second one those from 1000 on
SEED_BLOCK = 1000


def identity(study: Mapping[str, Any]) -> dict[str, Any]:
    """The part of study.json that identifies the study: everything that decides which trial tries what."""
    found = {name: value for name, value in study.items() if name not in BOOKKEEPING}
    return found if found.get("reading") else {k: v for k, v in found.items() if k != "reading"}


def study_id(content: Mapping[str, Any]) -> str:
    """The id of a study with this identity."""
    return stable_hash(dict(content))


def sampler_seed(content: Mapping[str, Any], training: Mapping[str, Any]) -> int:
    """The sampler's seed. training: the recipe's, which a reading may change for its own study.

    While the sampler draws from the prior, every method and reading of a task tries the same learning rates. So a
    difference between them is not one of luck with them.
    """
    shared = {k: v for k, v in content.items() if k not in NOT_IN_SEED}
    return int(stable_hash({**shared, "training": dict(training)}), 16) % 2**31


def confirm_seeds(count: int, search_seeds: Collection[int], search: int = 1) -> list[int]:
    """The seeds of the confirm cells: the first of the search's block, the same for every task and method, never a
    search seed. A larger count keeps the seeds of a smaller one."""
    first = (search - 1) * SEED_BLOCK + 1
    candidates = range(first, first + count + len(search_seeds))
    return [seed for seed in candidates if seed not in search_seeds][:count]
