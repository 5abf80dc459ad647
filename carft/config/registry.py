"""The registry of methods. A card states everything that the rest of the project knows about a method.

A new method is one file in ``carft/methods`` and one card in ``methods.yaml`` (docs/extending.md). No torch.
"""

import importlib
import math
from collections.abc import Mapping
from dataclasses import field
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from carft.config.settings import Reading
from carft.core.declaration import Refusing
from carft.core.errors import PROGRAM, UserError
from carft.core.yaml_file import read_yaml

#: modules that are made from plugin files are called this and the digest of the text
PLUGIN_MODULE = "carft_plugin_"
#: stands for the code of a method of a results folder, which holds none
NOT_HERE = f"{PLUGIN_MODULE}that_is_not_here:method"
Passes = Annotated[int, Field(ge=0)]


@dataclass(frozen=True)
class Range:
    """The range of a hyperparameter. A search draws uniformly in the logarithm, from ``low`` to ``high``."""

    low: float
    high: float
    first_guess: float
    """The value of the first trial of every study."""
    zero_allowed: bool = False
    """Whether a single cell may use 0. A search never proposes it."""


@dataclass(frozen=True, kw_only=True)
class MethodCard(metaclass=Refusing):
    """A method's entry in the registry. Raises ``UserError`` for a card that contradicts itself."""

    name: str
    """Name on the command line, in recipes and in records."""
    label: Annotated[str, Field(min_length=1)]
    """Name in tables and figures."""
    kind: Literal["untrained", "trained", "post-hoc"] = "trained"
    """``untrained`` methods are evaluated as they are, ``trained`` ones are searched, ``post-hoc`` ones combine the
    weights of finished cells."""
    summary: Annotated[str, Field(min_length=1)]
    """One sentence for ``ls methods``."""
    implementation: str = NOT_HERE
    """``module:attribute`` of the class or function."""
    digest: str = ""
    """Digest of the source of a method from outside this package, part of the id of every cell; empty for others."""
    combines: Literal["", "weights", "outputs"] = ""
    """What a method of the command ``combine`` is made of; empty for other methods."""
    of_several: bool = False
    """Whether a method of ``combine`` takes two cells or more, and not one."""
    space: Mapping[str, Range] = field(default_factory=dict)
    """Hyperparameter -> range. A cell names exactly these."""
    shares: Mapping[str, str] = field(default_factory=dict)
    """Hyperparameter -> its name across methods; a hyperparameter that is not named is the method's own. A claim
    compares two methods only if each hyperparameter with a common name was searched over the same range."""
    reads: tuple[str, ...] = ()
    """Reading factors that training depends on. Cells leave the others at their default, so that no cell runs twice
    under two ids."""
    whole_batch: bool = False
    """Whether the loss needs all images of a batch at once. Several workers and accumulation are then an error."""
    first_passes: Passes = 0
    """Passes of the image encoder over the training set before the first epoch."""
    epoch_passes: Passes = 0
    """Passes of the image encoder over the training set per epoch; 0 without epochs. Forward and backward pass count as
    3; the pretrained model's features, or a text tower that is trained too, as 1 more."""
    in_soups: bool = False
    """Whether a sweep with soups averages the search cells of this method."""
    compares: bool = False
    """Whether the loss compares the images of a batch through ``embed`` and ``compare``, which several workers and
    accumulation need in the place of ``loss``."""
    trains_text: bool = False
    """Whether the text encoder is trained too, on a prompt for each image: a plan counts its memory."""
    own_training: Mapping[str, Any] = field(default_factory=dict)
    """Training settings that the method fixes, whatever the recipe says."""

    def __post_init__(self) -> None:
        for name, limits in self.space.items():
            is_drawn = self.kind == "trained"  # in the logarithm, which 0 does not have
            is_above_0 = limits.low > 0 or (limits.low == 0 and limits.zero_allowed and not is_drawn)
            if not (is_above_0 and limits.low <= limits.first_guess <= limits.high < math.inf):
                raise ValueError(f"The range of {name} is not low <= first_guess <= high above 0")
        for name in self.shares:
            if name not in self.space:
                raise ValueError(f"It shares {name}, which its space does not have")
        for name in self.reads:
            if name not in Reading.__dataclass_fields__:
                raise ValueError(f"There is no reading factor {name}")

    def load(self) -> Any:
        """Import the implementation. Raises ``UserError`` for a method of a plugin whose code is not here."""
        module, attribute = self.implementation.split(":")
        try:
            return getattr(importlib.import_module(module), attribute)
        except ModuleNotFoundError as error:
            if not module.startswith(PLUGIN_MODULE):
                raise
            raise UserError(f"The code of the method '{self.name}' is not here.", "Give it: --plugin FILE") from error

    def allows_parts(self, workers: int, parts: int) -> bool:
        """Whether so many workers may share a batch, and each of them compute its share in so many parts."""
        return not self.whole_batch or workers == parts == 1

    def require_parts_allowed(self, workers: int, accumulation: int) -> None:
        """Raise ``UserError`` if a batch would be split over workers or steps and the loss needs it whole."""
        if not self.allows_parts(workers, accumulation):
            raise UserError(
                f"The loss of '{self.name}' compares the images of a batch with each other and needs it in one piece.",
                "Run it with one worker and without accumulation; the same results folder takes it. In a sweep, name "
                "the other methods with --methods first, then this one without these options.",
            )

    def require_trainable(self, given: Mapping[str, float]) -> None:
        """Raise ``UserError`` for a post-hoc method, and unless ``given`` names exactly the hyperparameters, with
        sensible values."""
        if self.kind == "post-hoc":
            raise UserError(f"'{self.name}' works on finished cells.", f"Use: {PROGRAM} combine {self.name} --cells ID")
        for name in given:
            if name not in self.space:
                known = ", ".join(map(hyperparameter_words, self.space)) or "none"
                raise UserError(f"Method '{self.name}' has no {hyperparameter_words(name)}.", f"It has: {known}.")
        for name, limits in self.space.items():
            if name not in given:
                how = option(name) if name in OWN_OPTIONS else f"--set {name}=VALUE"
                raise UserError(f"Method '{self.name}' needs its {hyperparameter_words(name)}.", f"Give {how}.")
            value, least = given[name], "of at least 0" if limits.zero_allowed else "above 0"
            if not 0 <= value < math.inf or (value == 0 and not limits.zero_allowed):
                raise UserError(
                    f"The {hyperparameter_words(name)} must be a finite number {least}, not {value}.",
                    f"A search tries {limits.low:g} to {limits.high:g}.",
                )


def _read() -> dict[str, MethodCard]:
    text = Path(__file__).with_name("methods.yaml").read_text(encoding="utf-8")
    cards = {}
    for name, fields in read_yaml(text, "methods.yaml").items():
        if not name.startswith("."):
            cards[name] = MethodCard(name=name, **fields)
    return cards


#: the methods of this package, in the order of tables
METHODS: Mapping[str, MethodCard] = _read()
#: ranges, common names and reading factors that methods of plug-ins take as well
LEARNING_RATE, KL_WEIGHT = METHODS["car_ft"].space["lr"], METHODS["car_ft"].space["kl_weight"]
FINE_TUNING, HEAD_FACTORS = METHODS["ft"].shares, METHODS["ft"].reads
CONTEXT_FACTORS = METHODS["car_ft"].reads
#: post-hoc methods of the command ``combine``
COMBINED = tuple(name for name, card in METHODS.items() if card.combines)
#: interpolation weights of WiSE-FT
WISE_ALPHAS = (0.0, 0.25, 0.5, 0.75, 1.0)


class SoupRule(Enum):
    """Which cells a soup averages; the value is its hyperparameter ``greedy``."""

    UNIFORM = 0.0
    """All."""
    GREEDY = 1.0
    """Those that help on validation."""


#: hyperparameters with an option of their own on the command line; the others are given as ``--set name=VALUE``
OWN_OPTIONS = ("lr", "kl_weight")


def option(name: str) -> str:
    """The option of a setting on the command line."""
    return f"--{name.replace('_', '-')}"


def hyperparameter_words(name: str) -> str:
    """The name of a hyperparameter in a sentence: ``learning rate`` for ``lr``."""
    return {"lr": "learning rate", "kl_weight": "KL weight"}.get(name, name.replace("_", " "))


#: (parameters of the image encoder below which the range holds, lowest rate, highest rate)
BY_SIZE: tuple[tuple[float, float, float], ...] = (
    (10e6, 1e-4, 3e-3),
    (50e6, 1e-5, 1e-3),
    (float("inf"), 3e-6, 1e-4),
)


def learning_rate_range(parameters: int) -> tuple[float, float]:
    """Return the lowest and the highest learning rate of a search, for an image encoder of so many parameters."""
    return next((low, high) for most, low, high in BY_SIZE if parameters < most)
