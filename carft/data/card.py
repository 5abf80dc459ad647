"""Task cards: what is known of a task before its data are opened, as plain values. No torch."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

from carft.core.array_cache import ArrayCache
from carft.core.errors import UserError

#: the bank of context templates of the default reading
STANDARD = "standard"


class DataOptions(Protocol):
    """How data are opened. :class:`carft.training.execution.Execution` implements it."""

    @property
    def root(self) -> Path | None:
        """The data root."""

    @property
    def cache(self) -> ArrayCache | None:
        """The disk cache; None for no cache."""


@dataclass(frozen=True)
class Card:
    """A task's entry in the catalog."""

    name: str
    """``family/task``, or the name of the data set."""
    measures: str
    """One line about the task, for people."""
    scale: str
    """``paper``, ``miniature`` or ``own`` (your own data); printed with every number."""
    version: str
    """Version of the data, part of every cell's id."""
    classes: tuple[str, ...]
    """Class names as words, in label order."""
    templates: tuple[str, ...]
    """Prompts of the zero-shot class head, each with one ``{}``."""
    suites: tuple[str, ...]
    """Names of the evaluation sets under distribution shift."""
    group: str
    """Name of the resampling unit, for example ``image``."""
    metric: str
    """The field's usual metric: ``top1`` or ``mean_per_class``. Records hold both."""
    licence: str
    source: str
    """Where the data come from."""
    loader: str
    """Module with ``require_present``, ``open_task`` and ``open_sealed``, each of (card, options). Optional functions:
    ``require_sealed(card, options)``, ``count(card)`` and ``picture(card, held_out, name, root)``; see
    :class:`carft.data.family.Family`. Empty where the family opens its tasks itself."""
    model: str = "ViT-B-16"
    """Default model of a cell."""
    pretrained: str = "openai"
    """Default weights of a cell."""
    banks: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Bank name -> templates of the loss's context head. ``standard`` belongs to the default reading."""
    contexts: tuple[str, ...] = ()
    """Prompts of the known contexts; ``ImageSet.contexts`` holds indices into them. Empty if no context is known."""
    has_test: bool = True
    """Whether there is a test set in distribution."""
    folder: str = ""
    """Folder under the data root; empty if the task needs no data root."""
    data_sets: tuple[str, ...] = ()
    """Names of the data sets that the task is made of."""
    domains: int = 0
    """Number of training domains of a DomainBed task, whose contexts are the domains; 0 for any other task."""

    def __hash__(self) -> int:
        return hash((self.name, self.version))

    @property
    def sets(self) -> tuple[str, ...]:
        """Names of the held-out sets: ``test``, if there is one, and ``ood/<suite>``."""
        suites = tuple(f"ood/{suite}" for suite in self.suites)
        return ("test", *suites) if self.has_test else suites

    def without_suites(self, names: Collection[str]) -> Card:
        """Return the card without these suites, and without data sets of their names."""
        suites = tuple(suite for suite in self.suites if suite not in names)
        data_sets = tuple(data_set for data_set in self.data_sets if data_set not in names)
        return replace(self, suites=suites, data_sets=data_sets)

    def bank(self, name: str) -> tuple[str, ...]:
        """Return the context templates of a bank. Raises ``UserError`` for an unknown bank."""
        if name not in self.banks:
            raise UserError(
                f"{self.name} has no context templates called '{name}'.", f"It has: {', '.join(self.banks)}."
            )
        return self.banks[name]

    def warnings(self, bank: str = STANDARD) -> list[str]:
        """Return warnings about CAR-FT on this task, as sentences."""
        found = []
        if len(self.bank(bank)) < 2:
            constant = "the context distribution is constant, the KL is 0 and car_ft is ft"
            found.append(f"{self.name} has one context template: {constant}.")
        if self.scale == "own" and not self.suites:
            found.append(f"{self.name} has one domain: claims in distribution are asked, none on robustness.")
        return found
