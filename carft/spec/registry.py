"""The methods: what they are called, where their code lives, what may be tuned. No torch here.

To add a method, write one small class or function in one file and add one entry to ``METHODS`` (docs/extending.md).
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from carft.core.errors import UserError, unknown
from carft.spec.cell import require_not_negative, require_positive

Kind = Literal["untrained", "trained", "post-hoc"]


@dataclass(frozen=True)
class Range:
    """The values a search may try, drawn uniformly in the logarithm, and the first guess every study starts with."""

    low: float
    high: float
    first_guess: float
    zero_allowed: bool = False  # for a single cell; a search never proposes it


LEARNING_RATE = Range(3e-5, 1e-3, first_guess=3e-4)
KL_WEIGHT = Range(0.1, 10.0, first_guess=1.0, zero_allowed=True)
#: what a loss on context distributions depends on
CONTEXT_FACTORS = ("kl_direction", "context_temperature", "context_scale", "context_templates", "class_head")
PROBE_PENALTY = Range(1e-6, 1e-1, first_guess=1e-3)
#: what a hyperparameter is, where several methods have the same one: hyperparameter -> its name across methods
FINE_TUNING = {"lr": "learning rate of fine-tuning"}
CONTEXT_KL = {**FINE_TUNING, "kl_weight": "weight of the context KL"}
PROBE = {"l2": "penalty of the linear probe"}


@dataclass(frozen=True)
class MethodCard:
    """A method's entry in the registry.

    where: "module:attribute" of its code. space: hyperparameter -> range; a cell must name exactly these.
    whole_batch: whether the loss compares the images of a batch with each other, so that it cannot be computed in
    parts. reads: the reading factors that its training depends on; the others are left at their default in its cells,
    so that no cell is run twice under two names. command: how a post-hoc method is called. shares: hyperparameter ->
    its name across methods: two methods are compared only if each hyperparameter with a common name was searched over
    the same range. A hyperparameter without such a name is the method's own.
    """

    name: str
    label: str  # as tables and figures write it
    kind: Kind
    summary: str
    where: str
    space: Mapping[str, Range] = field(default_factory=dict)
    whole_batch: bool = False
    reads: tuple[str, ...] = ("class_head",)
    command: str = ""
    shares: Mapping[str, str] = field(default_factory=dict)

    def load(self) -> Any:
        """Import the method's code."""
        module, attribute = self.where.split(":")
        return getattr(importlib.import_module(module), attribute)


METHODS: dict[str, MethodCard] = {
    card.name: card
    for card in (
        MethodCard(
            "zeroshot",
            "zero-shot",
            "untrained",
            "The pretrained model with its prompt-built class head, as it is.",
            "carft.methods.ft:FineTune",
            reads=(),
        ),
        MethodCard(
            "linear_probe",
            "linear probe",
            "trained",
            "Logistic regression on the frozen image features.",
            "carft.methods.linear_probe:LinearProbe",
            {"l2": PROBE_PENALTY},
            reads=(),
            shares=PROBE,
        ),
        MethodCard(
            "ft",
            "FT",
            "trained",
            "Fine-tuning of image encoder and class head by cross-entropy.",
            "carft.methods.ft:FineTune",
            {"lr": LEARNING_RATE},
            shares=FINE_TUNING,
        ),
        MethodCard(
            "lp_ft",
            "LP-FT",
            "trained",
            "A linear probe, then fine-tuning from it.",
            "carft.methods.lp_ft:ProbeThenFineTune",
            {"lr": LEARNING_RATE, "l2": PROBE_PENALTY},
            reads=(),
            shares={**FINE_TUNING, **PROBE},
        ),
        MethodCard(
            "l2_sp",
            "L2-SP",
            "trained",
            "Fine-tuning that keeps the weights of the image encoder near the pretrained ones.",
            "carft.methods.l2_sp:StartingPoint",
            {"lr": LEARNING_RATE, "l2_weight": Range(0.01, 10.0, first_guess=0.1, zero_allowed=True)},
            shares=FINE_TUNING,
        ),
        MethodCard(
            "kd",
            "KD",
            "trained",
            "Fine-tuning that keeps the class distribution near the zero-shot one.",
            "carft.methods.kd:ClassDistillation",
            {"lr": LEARNING_RATE, "kl_weight": KL_WEIGHT},
            shares=FINE_TUNING,
        ),
        MethodCard(
            "feature_kd",
            "feature KD",
            "trained",
            "Fine-tuning that keeps the image features near the pretrained ones.",
            "carft.methods.feature_kd:FeatureDistillation",
            {"lr": LEARNING_RATE, "distance_weight": Range(0.1, 100.0, first_guess=1.0, zero_allowed=True)},
            shares=FINE_TUNING,
        ),
        MethodCard(
            "flyp",
            "FLYP",
            "trained",
            "Contrastive fine-tuning of image encoder and text tower on images and prompts of their class.",
            "carft.methods.flyp:FinetuneLikePretrain",
            {"lr": LEARNING_RATE},
            whole_batch=True,
            reads=(),
        ),
        MethodCard(
            "lipsum_ft",
            "Lipsum-FT",
            "trained",
            "Fine-tuning that keeps the model's answers to random text.",
            "carft.methods.lipsum_ft:RandomText",
            {"lr": LEARNING_RATE, "energy_weight": Range(0.1, 10.0, first_guess=1.0, zero_allowed=True)},
            shares=FINE_TUNING,
        ),
        MethodCard(
            "car_ft",
            "CAR-FT",
            "trained",
            "Fine-tuning with a KL term that keeps the context distribution near the pretrained one.",
            "carft.methods.car_ft:ContextAwareFineTune",
            {"lr": LEARNING_RATE, "kl_weight": KL_WEIGHT},
            reads=CONTEXT_FACTORS,
            shares=CONTEXT_KL,
        ),
        MethodCard(
            "car_ft_permuted",
            "CAR-FT, permuted",
            "trained",
            "Control of CAR-FT: every image is held to the context distribution of another image of its batch.",
            "carft.methods.car_ft_controls:PermutedContexts",
            {"lr": LEARNING_RATE, "kl_weight": KL_WEIGHT},
            reads=CONTEXT_FACTORS,
            whole_batch=True,
            shares=CONTEXT_KL,
        ),
        MethodCard(
            "car_ft_random",
            "CAR-FT, random",
            "trained",
            "Control of CAR-FT: random unit vectors in place of the context head.",
            "carft.methods.car_ft_controls:RandomContexts",
            {"lr": LEARNING_RATE, "kl_weight": KL_WEIGHT},
            reads=CONTEXT_FACTORS,
            shares=CONTEXT_KL,
        ),
        MethodCard(
            "wise_ft",
            "WiSE-FT",
            "post-hoc",
            "Weights interpolated between the pretrained (alpha 0) and a fine-tuned model (alpha 1).",
            "carft.methods.wise_ft:interpolate",
            {"alpha": Range(0.0, 1.0, first_guess=0.5, zero_allowed=True)},
            command="interpolate --cell ID",
        ),
        MethodCard(
            "soup",
            "soup",
            "post-hoc",
            "Average of the weights of a study's search cells: of all (greedy 0), or of those that help (greedy 1).",
            "carft.methods.soup:uniform_soup",
            {"greedy": Range(0.0, 1.0, first_guess=0.0, zero_allowed=True)},
            command="soup --cells ID,ID,...",
        ),
    )
}

WISE_ALPHAS = (0.0, 0.25, 0.5, 0.75, 1.0)
#: the methods whose search cells a sweep makes soups of, when it is asked for soups
SOUPED = ("ft", "car_ft")
SOUP_RULES = (0.0, 1.0)  # values of ``greedy``


def method_card(name: str) -> MethodCard:
    """The card of a method; ``UserError`` with near misses for an unknown name."""
    if name not in METHODS:
        raise unknown("method", name, METHODS)
    return METHODS[name]


def trained_methods() -> list[str]:
    """Names of the methods that a sweep searches, in registry order."""
    return [name for name, card in METHODS.items() if card.kind == "trained"]


def not_trainable(name: str) -> UserError:
    """The refusal to train a post-hoc method."""
    return UserError(f"'{name}' works on finished cells.", f"Use: python cli.py {method_card(name).command}")


def require_parts_allowed(name: str, workers: int, accumulation: int) -> None:
    """``UserError`` when a batch would be computed in parts and the method needs it whole."""
    if method_card(name).whole_batch and (workers > 1 or accumulation > 1):
        raise UserError(
            f"The loss of '{name}' compares the images of a batch with each other and needs it in one piece.",
            "Run it with one worker and without accumulation.",
        )


def check_hyperparameters(method: str, given: Mapping[str, float]) -> None:
    """Raise ``UserError`` unless ``given`` names exactly the method's hyperparameters with sensible values."""
    space = method_card(method).space
    for name in given:
        if name not in space:
            raise UserError(f"Method '{method}' has no {_words(name)}.", f"It has: {_listed(space)}.")
    for name, limits in space.items():
        if name not in given:
            raise UserError(f"Method '{method}' needs a {_words(name)}.", _how(name))
        check = require_not_negative if limits.zero_allowed else require_positive
        check(_words(name), given[name])


def _how(name: str) -> str:
    return f"Give --{name.replace('_', '-')}." if name in ("lr", "kl_weight") else f"Give --set {name}=VALUE."


def _words(name: str) -> str:
    return {"lr": "learning rate", "kl_weight": "KL weight"}.get(name, name.replace("_", " "))


def _listed(space: Mapping[str, Range]) -> str:
    return ", ".join(map(_words, space)) or "none"
