"""Task cards: what is known of a task before its data are opened. Only opening a task imports torch."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from carft.core.array_cache import ArrayCache
from carft.core.errors import UserError

if TYPE_CHECKING:
    from carft.data.task import Sealed, Task

#: the bank of context templates of the default reading
STANDARD = "standard"


class DataOptions(Protocol):
    """How data are opened. :class:`carft.training.execution.Execution` implements it."""

    @property
    def root(self) -> Path | None:
        """The data root."""

    @property
    def skip_unreadable(self) -> bool:
        """Whether images that cannot be decoded are left out and listed in the record."""

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
    """Module with ``open_task``, ``open_sealed`` and ``require_present``, each of (card, options), and
    ``require_sealed`` where suites are data sets of their own."""
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
    superseded: Mapping[str, str] = field(default_factory=dict)
    """Earlier version of the data -> the version of this package that can run cells on it."""
    data_sets: tuple[str, ...] = ()
    """Names of the data sets that the task is made of."""
    domains: int = 0
    """Number of training domains of a DomainBed task, whose contexts are the domains; 0 for any other task."""

    @property
    def sets(self) -> tuple[str, ...]:
        """Names of the held-out sets: ``test``, if there is one, and ``ood/<suite>``."""
        return (*(("test",) if self.has_test else ()), *(f"ood/{suite}" for suite in self.suites))

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

    def require_present(self, options: DataOptions) -> None:
        """Raise ``UserError`` if the data do not exist. Opens no image."""
        if self.folder and options.root is None:
            raise UserError(
                f"{self.name} needs data on this machine, and no data folder was named.",
                f"Give --data ROOT, the folder that holds '{self.folder}'. Where to get it: {self.source}",
            )
        self._loader("require_present")(self, options)

    def refusal(self, options: DataOptions) -> str | None:
        """Return why ``require_present`` refuses these data, with what to do; None where it does not."""
        try:
            self.require_present(options)
        except UserError as error:
            return " ".join(filter(None, (error.message, error.hint)))
        return None

    def require_sealed(self, options: DataOptions) -> None:
        """Raise ``UserError`` if training data or held-out sets do not exist. Call it before work that unseals."""
        self.require_present(options)
        if hasattr(importlib.import_module(self.loader), "require_sealed"):
            self._loader("require_sealed")(self, options)

    def open(self, options: DataOptions, holdout: str = "stable") -> Task:
        """Open training and validation images. holdout: as of a cell."""
        self.require_present(options)
        chosen = () if holdout == "stable" else (holdout,)
        return self._loader("open_task")(self, options, *chosen)

    def unseal(self, options: DataOptions, target_split: str = "all") -> Sealed:
        """Open the test set and the suites. Only unsealing calls this. target_split: as of a cell."""
        self.require_present(options)
        chosen = () if target_split == "all" else (target_split,)
        return self._loader("open_sealed")(self, options, *chosen)

    def _loader(self, function: str) -> Callable[..., Any]:
        return getattr(importlib.import_module(self.loader), function)
