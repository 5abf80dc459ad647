"""The catalog: one card per task. No torch here; the loaders are imported when a task is opened."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from carft.data.icons.world import ALL, VERSION, suites, tasks, templates
from carft.errors import unknown

if TYPE_CHECKING:
    from carft.data.task import Sealed, Task


@dataclass(frozen=True)
class Card:
    """What is known of a task before its data are opened.

    scale: ``paper`` or ``miniature``; printed with every number. group: what the resampling unit is.
    model, pretrained: what a cell uses when nothing else is asked for.
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
    presence: str  # "module:function" that refuses when data or default weights are not on this machine

    def require_present(self) -> None:
        """``Refusal`` unless the task's data and its default weights are here. Cheap: nothing is opened."""
        module, function = self.presence.split(":")
        getattr(importlib.import_module(module), function)()

    def warnings(self) -> list[str]:
        """What a person must know before believing a CAR-FT number of this task."""
        if len(self.templates) > 1:
            return []
        return [f"{self.name} has one template: the context distribution is constant, the KL is 0 and car_ft is ft."]

    def open(self) -> Task:
        """Train and validation images only."""
        return self._call("open_task")

    def unseal(self) -> Sealed:
        """Test set and suites; called by unsealing alone."""
        return self._call("open_sealed")

    def _call(self, function: str) -> Any:
        load: Callable[[str], Any] = getattr(importlib.import_module(self.loader), function)
        return load(self.name)


def _icons_card(name: str, classes: tuple[str, ...]) -> Card:
    every = name == ALL
    return Card(
        name=name,
        measures=f"{'All' if every else 'Which'} drawn things: {', '.join(classes[:4])}, ...",
        scale="miniature",
        version=VERSION,
        classes=classes,
        templates=templates(),
        suites=suites(),
        group="drawing",
        metric="top1",
        licence="Fonts under OFL-1.1, Apache-2.0, MIT, ISC, CC-BY-4.0 and CC-BY-SA (NOTICE)",
        source="Glyphs of the fonts in the wheels qtawesome and iconipy",
        model="icons-resnet",
        pretrained="icons",
        loader="carft.data.icons.tasks",
        presence="carft.data.icons.foundries:require_present",
    )


CARDS: dict[str, Card] = {name: _icons_card(name, classes) for name, classes in tasks().items()}

#: the tasks of `sweep downstream` on the built-in world
DOWNSTREAM_ICONS: tuple[str, ...] = tuple(name for name in CARDS if name != ALL)


def card(name: str) -> Card:
    """The card of a task; ``Refusal`` with near misses for an unknown name."""
    if name not in CARDS:
        raise unknown("task", name, CARDS)
    return CARDS[name]
