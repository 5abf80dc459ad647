"""A study: what identifies it, its seeds, and what its trials try. Pure functions. No torch.

What a trial tries depends on search seed, number of the trial and ranges. All searches with one seed read the same
points of one scrambled Sobol sequence, each method and task through its own ranges. So trials run in any order, two
methods try the same learning rates, and anyone can compute a trial again.

The points are Sobol's (direction numbers of Joe and Kuo, 2008). They are scrambled by a random linear map and a shift
of their binary digits (Matousek, 1998). The random digits are hashes, so that every version of every package gives the
same ones.
"""

import math
from collections.abc import Iterable, Mapping
from functools import lru_cache
from hashlib import shake_256
from typing import Any

from carft.config.cell import DIGEST_MARK, id_form, path_in, stable_hash
from carft.config.registry import Range

#: keys of study.json that do not identify the study; files of earlier versions have ``seed``
BOOKKEEPING = ("id", "seed", "trials", "winner", "confirm", "oracle", "too_few", "grid", "extended_from", "allow_edges")
#: number of seeds of each search: the second search has those from 1000 on
SEED_BLOCK = 1000
#: what study.json calls this way of drawing trials
SOBOL = "sobol"
#: Hyperparameter -> dimension of the sequence. It never changes: projections on other dimensions differ. All those
#: beside the learning rate have one of each four points in every quarter of the plane that they span with it.
DIMENSIONS: Mapping[str, int] = {
    "lr": 0,
    "kl_weight": 1,
    "context_temperature": 2,
    "l2": 6,
    "l2_weight": 12,
    "distance_weight": 38,
    "energy_weight": 53,
}
#: dimensions of hyperparameters with other names, in alphabetical order of those of a method
OTHER_DIMENSIONS = (13, 19, 22, 26, 28, 30, 40, 45, 47, 39, 50, 60, 68, 78)
#: binary digits of a coordinate
BITS = 30
#: significant decimal digits of a value, which processors do not compute differently
DIGITS = 6


def identity(content: Mapping[str, Any]) -> dict[str, Any]:
    """The part of study.json that identifies the study: everything that decides which trial tries what.

    Weights that are a file count by their digest, as in the id of a cell. In files of earlier versions, which hold the
    path of the weights, the path counts.
    """
    identifying = {name: value for name, value in content.items() if name not in BOOKKEEPING}
    start = (identifying["model"], identifying["pretrained"])
    if DIGEST_MARK in start[1] and not path_in(*start):
        identifying["model"], identifying["pretrained"] = id_form(*start)
    return identifying if identifying.get("reading") else {k: v for k, v in identifying.items() if k != "reading"}


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


def trial_parameters(search_seed: int, trial: int, space: Mapping[str, Range]) -> dict[str, float]:
    """Return what a trial tries: the first guesses for trial 0, else point ``trial - 1`` of the sequence.

    Args:
        search_seed: Seed of the search cells, at least 0.
        trial: Number of the trial, from 0.
        space: Hyperparameter -> range, which is spanned in the logarithm.
    """
    if trial == 0:
        return {name: limits.first_guess for name, limits in space.items()}
    dimensions = dimensions_of(space)
    points = {name: coordinate(search_seed, name, dimensions[name], trial - 1) for name in space}
    return {name: _value(limits, points[name]) for name, limits in space.items()}


def dimensions_of(names: Iterable[str]) -> dict[str, int]:
    """Return the dimension of each hyperparameter of a method."""
    others = sorted(name for name in names if name not in DIMENSIONS)
    own = {name: OTHER_DIMENSIONS[place % len(OTHER_DIMENSIONS)] for place, name in enumerate(others)}
    return {**DIMENSIONS, **own}


def coordinate(search_seed: int, name: str, dimension: int, index: int) -> float:
    """Return a coordinate of a point of the scrambled sequence, in (0, 1).

    Args:
        search_seed: Seed of the search cells.
        name: Hyperparameter. Two of them are scrambled independently.
        dimension: Dimension of the sequence, from 0.
        index: Number of the point, from 0.
    """
    point, scrambled = _sobol(dimension, index.bit_length())[index], 0
    digits = shake_256(f"{search_seed} {name}".encode()).digest(4 * (BITS + 1))
    *rows, shift = (int.from_bytes(digits[start : start + 4]) for start in range(0, len(digits), 4))
    for place, row in zip(reversed(range(BITS)), rows, strict=True):
        higher = row >> (place + 1) << (place + 1)  # the digits above this one, each of them with probability 1/2
        scrambled |= ((point & (higher | 1 << place)).bit_count() & 1) << place
    return ((scrambled ^ shift % 2**BITS) + 0.5) / 2**BITS


@lru_cache(maxsize=256)
def _sobol(dimension: int, bits: int) -> tuple[int, ...]:
    """Coordinate of the first ``2 ** bits`` points of the plain sequence, each times ``2 ** BITS``."""
    from scipy.stats.qmc import Sobol  # it takes longer to import than many commands run

    points = Sobol(dimension + 1, scramble=False, bits=BITS).random_base2(bits)[:, dimension]
    return tuple(int(point * 2**BITS) for point in points)


def _value(limits: Range, point: float) -> float:
    low, high = math.log(limits.low), math.log(limits.high)
    value = float(f"{math.exp(low + point * (high - low)):.{DIGITS}g}")
    return min(max(value, limits.low), limits.high)
