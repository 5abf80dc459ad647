"""What two sides of a comparison differ in besides the method."""

from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Any


class Unequal(Enum):
    """What differs, with what the values of an :class:`Inequality` are then."""

    RANGE = auto()
    """Search range of a hyperparameter that both share: lowest, highest value, first guess; none if not on record."""
    SETTING = auto()
    """What a search or its cells were made with."""
    RECIPE = auto()
    """A setting of the training recipe."""
    TRIAL_COUNTS = auto()
    """Finished trials, of each search."""
    TRIALS = auto()
    """Numbers of the trials that ended, of each search."""
    IMAGES = auto()
    """Images or labels of a set; the sides are cells."""
    MODEL = auto()
    """The model and weights here, and the one that the claim is about."""


@dataclass(frozen=True)
class Inequality:
    """One thing in which two sides differ."""

    what: Unequal
    sides: tuple[str, str]
    """Names of methods, entries or cells."""
    values: tuple[tuple[Any, ...], tuple[Any, ...]] = field(default=((), ()), hash=False)
    """What each side has."""
    name: str = ""
    """Of the setting, hyperparameter or set."""
    tasks: tuple[str, ...] = ()
    """Where they differ, if that is not everywhere."""
