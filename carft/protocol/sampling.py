"""What the trials of a study try. Pure functions. No torch.

What a trial tries depends on search seed, number of the trial and ranges. All searches with one seed read the same
points of one scrambled Sobol sequence, each method and task through its own ranges. So trials run in any order, two
methods try the same learning rates, and anyone can compute a trial again.

The points are Sobol's (direction numbers of Joe and Kuo, 2008). They are scrambled by a random linear map and a shift
of their binary digits (Matousek, 1998). The random digits are hashes, so that every version of every package gives the
same ones.
"""

import math
import struct
from collections.abc import Iterable, Mapping
from functools import lru_cache
from hashlib import shake_256

from carft.config.registry import Range

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
    "distillation_weight": 15,
    "orthogonality_weight": 17,
}
#: dimensions of hyperparameters with other names, in alphabetical order of those of a method
OTHER_DIMENSIONS = (13, 19, 22, 26, 28, 30, 40, 45, 47, 39, 50, 60, 68, 78)
#: binary digits of a coordinate
BITS = 30
#: significant decimal digits of a value, which processors do not compute differently
DIGITS = 6


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
    values = {}
    for name, limits in space.items():
        point = coordinate(search_seed, name, dimensions[name], trial - 1)
        values[name] = _value(limits, point)
    return values


def dimensions_of(names: Iterable[str]) -> dict[str, int]:
    """Return the dimension of each hyperparameter of a method."""
    dimensions = dict(DIMENSIONS)
    for place, name in enumerate(sorted(set(names) - DIMENSIONS.keys())):
        dimensions[name] = OTHER_DIMENSIONS[place % len(OTHER_DIMENSIONS)]
    return dimensions


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
    *rows, shift = struct.unpack(f">{BITS + 1}I", digits)
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
    return rounded(limits, math.exp(low + point * (high - low)))


def rounded(limits: Range, value: float) -> float:
    """Return a value with :data:`DIGITS` digits, inside its range."""
    return min(max(float(f"{value:.{DIGITS}g}"), limits.low), limits.high)
