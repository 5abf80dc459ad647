"""What identifies a study, and the seeds that follow from it. Pure functions of the content of study.json. No torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from carft.config.cell import stable_hash
from carft.config.weights import DIGEST_MARK, id_form, path_in

#: keys of study.json that do not identify the study; files of earlier versions have ``seed``
BOOKKEEPING = ("id", "seed", "trials", "winner", "confirm", "oracle", "too_few", "grid", "extended_from", "allow_edges")
#: number of seeds of each search: the second search has those from 1000 on
SEED_BLOCK = 1000


def identity(content: Mapping[str, Any]) -> dict[str, Any]:
    """The part of study.json that identifies the study: everything that decides which trial tries what.

    Weights that are a file count by their digest, as in the id of a cell. In files of earlier versions, which hold the
    path of the weights, the path counts.
    """
    found = {name: value for name, value in content.items() if name not in BOOKKEEPING}
    start = (found["model"], found["pretrained"])
    if DIGEST_MARK in start[1] and not path_in(*start):
        found["model"], found["pretrained"] = id_form(*start)
    return found if found.get("reading") else {k: v for k, v in found.items() if k != "reading"}


def study_id(identifying: Mapping[str, Any]) -> str:
    """The id of the study with this identity."""
    return stable_hash(dict(identifying))


def search_seed_of(first_seed: int, search: int) -> int:
    """The seed of the search cells of a search, counted from 1. ``first_seed``: that of the first search."""
    return first_seed + (search - 1) * SEED_BLOCK


def first_search_seed(search_seed: int, search: int) -> int:
    """The seed of the search cells of the first search. ``search_seed``: that of a search, counted from 1."""
    return search_seed - (search - 1) * SEED_BLOCK


def confirm_seeds(count: int, first_seed: int, search: int = 1) -> list[int]:
    """The seeds of the confirm cells of a search: the first ones of its block that are no search seed.

    They are the same for every task and method. A larger count keeps the seeds of a smaller one. No two searches share
    a seed.

    Args:
        count: Number of seeds.
        first_seed: Seed of the search cells of the first search.
        search: Position of the search, from 1.
    """
    taken = {search_seed_of(first_seed, other) for other in range(1, search + 1)}
    start = (search - 1) * SEED_BLOCK + 1
    return [seed for seed in range(start, start + count + 1) if seed not in taken][:count]
