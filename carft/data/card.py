"""What is known of a task before its data are opened. No torch here; the loaders are imported when a task is opened."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from carft.core.errors import UserError

if TYPE_CHECKING:
    from carft.data.task import Sealed, Task

#: the bank of context templates of the default reading
STANDARD = "standard"


class Where(Protocol):
    """Where the data are: the data root, whether images that cannot be decoded are left out, on record, and the folder
    in which what is dear to make is kept.

    :class:`carft.training.execution.Execution` is one; :class:`Folder` is another.
    """

    @property
    def root(self) -> Path | None: ...

    @property
    def skip_unreadable(self) -> bool: ...

    @property
    def feature_cache(self) -> str | None: ...


@dataclass(frozen=True)
class Folder:
    """A data root by itself."""

    root: Path | None = None
    skip_unreadable: bool = False
    feature_cache: str | None = None


@dataclass(frozen=True)
class Card:
    """A task's entry in the catalog.

    scale: ``paper``, ``miniature`` or ``own`` (your own data); printed with every number. classes: names as words, in
    label order. templates: prompts with one ``{}`` of the zero-shot class head. banks: reading name -> templates of the
    context head in the loss; ``standard`` is the default reading's. contexts: prompts of the *known* contexts; row k
    is what ``ImageSet.contexts`` calls k; empty where no context is known. suites: names of the sets under shift.
    group: what the resampling unit is. metric: ``top1`` or ``mean_per_class``, by convention; both are recorded.
    model, pretrained: what a cell uses when nothing else is asked for.
    loader: module with ``open_task``, ``open_sealed`` and ``require_present``, each of (card, where), and
    ``require_sealed`` where suites are data sets of their own.
    has_test: whether there is a test set in distribution. place: folder under the data root; empty when none is needed.
    data_sets: names of the data sets on disk that the task is made of.
    """

    name: str
    measures: str
    scale: str
    version: str
    classes: tuple[str, ...]
    templates: tuple[str, ...]
    suites: tuple[str, ...]
    group: str
    metric: str
    licence: str
    source: str
    model: str
    pretrained: str
    loader: str
    banks: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    contexts: tuple[str, ...] = ()
    has_test: bool = True
    place: str = ""
    data_sets: tuple[str, ...] = ()

    @property
    def sets(self) -> tuple[str, ...]:
        """Names of the sealed sets: ``test``, if there is one, and ``ood/<suite>``."""
        return (*(("test",) if self.has_test else ()), *(f"ood/{suite}" for suite in self.suites))

    def bank(self, name: str) -> tuple[str, ...]:
        """The context templates that a reading names; ``UserError`` for a bank that the task does not have."""
        if name not in self.banks:
            raise UserError(
                f"{self.name} has no context templates called '{name}'.", f"It has: {', '.join(self.banks)}."
            )
        return self.banks[name]

    def warnings(self, bank: str = STANDARD) -> list[str]:
        """What a person must know before believing a CAR-FT number of this task."""
        if len(self.bank(bank)) > 1:
            return []
        return [
            f"{self.name} has one context template: the context distribution is constant, the KL is 0 and car_ft is ft."
        ]

    def require_present(self, where: Where) -> None:
        """``UserError`` unless the data are there (or ship with the package). Cheap: nothing is opened."""
        if self.place and where.root is None:
            raise UserError(
                f"{self.name} needs data on this machine, and no data folder was named.",
                f"Give --data ROOT, the folder that holds '{self.place}'. Where to get it: {self.source}",
            )
        self._loader("require_present")(self, where)

    def require_sealed(self, where: Where) -> None:
        """``UserError`` unless test set and suites are there too; called before work that ends in unsealing."""
        self.require_present(where)
        if hasattr(importlib.import_module(self.loader), "require_sealed"):
            self._loader("require_sealed")(self, where)

    def open(self, where: Where) -> Task:
        """Train and validation images only."""
        self.require_present(where)
        return self._loader("open_task")(self, where)

    def unseal(self, where: Where) -> Sealed:
        """Test set and suites; called by unsealing alone."""
        self.require_present(where)
        return self._loader("open_sealed")(self, where)

    def _loader(self, function: str) -> Callable[..., Any]:
        return getattr(importlib.import_module(self.loader), function)
