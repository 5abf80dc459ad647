"""Families from installed packages: the entry points ``carft.data`` (docs/extending.md). No torch.

An entry point has the name of the family and leads to a :class:`Family`, to a card, or to a list of cards.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from carft.core.errors import UserError
from carft.core.source import installed, loaded, module_digest
from carft.data.card import STANDARD, Card
from carft.data.family import Family

GROUP = "carft.data"


@dataclass(frozen=True)
class PackageCard:
    """The card of a task from a package, as a results folder keeps it."""

    card: Card
    package: str
    """Name of the distribution."""
    digest: str
    """Digest of the package's code, part of the id of every cell."""

    @property
    def family(self) -> str:
        """Name of the family and of its entry point."""
        return family_name(self.card.name)


@dataclass(frozen=True)
class Package:
    """An installed family."""

    family: Family
    name: str
    """Name of the distribution."""
    digest: str
    """Digest of the package's code."""

    def card(self, task: str) -> PackageCard | None:
        """Return the card of a task; None if the package has none of this name."""
        card = self.family.card(task)
        return None if card is None else PackageCard(card, self.name, self.digest)


def family_name(task: str) -> str:
    """Return the first part of the name of a task."""
    return task.partition("/")[0]


@cache
def installed_package(family: str) -> Package | None:
    """Return the installed family of this name; None if there is none.

    Raises ``UserError`` for an entry point that leads to no family, or to a card that contradicts itself.
    """
    entry = installed(GROUP).get(family)
    if entry is None:
        return None
    content = loaded(entry)
    if not isinstance(content, Family):
        cards = [content] if isinstance(content, Card) else content
        if not isinstance(cards, list | tuple) or not cards or not all(isinstance(card, Card) for card in cards):
            raise UserError(
                f"{entry.value}: it is no card of a task, no list of cards, and no family.", "See docs/extending.md."
            )
        content = Family(family, {card.name: card for card in cards})
    for card in content.cards.values():
        _require_consistent(card, family, entry.value)
    return Package(content, entry.dist.name if entry.dist else family, module_digest(entry.module))


def installed_families() -> list[str]:
    """Return the names of all installed families."""
    return sorted(installed(GROUP))


def _require_consistent(card: Card, family: str, source: str) -> None:
    prompts = (*card.templates, *card.contexts, *(prompt for bank in card.banks.values() for prompt in bank))
    problems = [
        *([] if family_name(card.name) == family else [f"its name does not begin with '{family}'"]),
        *([] if card.version and len(card.classes) > 1 else ["it needs a version and two classes"]),
        *([] if STANDARD in card.banks else [f"it has no bank '{STANDARD}' of context templates"]),
        *(f"the prompt '{prompt}' needs exactly one {{}}" for prompt in prompts if prompt.count("{}") != 1),
        *([] if card.scale in ("paper", "miniature", "own") else [f"there is no scale '{card.scale}'"]),
        *([] if card.has_test or card.suites else ["it has no held-out set"]),
    ]
    if problems:
        raise UserError(f"{source}: the task '{card.name}' cannot be: {problems[0]}.", "See docs/extending.md.")


def installed_family(stored: PackageCard) -> Family:
    """Return the installed family that opens a task of a results folder.

    Raises ``UserError`` if its package is missing or has other data.
    """
    package, card = installed_package(stored.family), stored.card
    if package is None:
        raise UserError(
            f"The task '{card.name}' comes from the package '{stored.package}' (entry point '{stored.family}' of "
            f"{GROUP}), which is not installed here.",
            "Install it to run cells on the task; a report needs only what the results folder holds.",
        )
    here = package.family.card(card.name)
    if here is None or here.version != card.version:
        raise UserError(
            f"The results have version {card.version} of '{card.name}'; the package '{package.name}' has "
            f"{'no such task' if here is None else here.version}.",
            f"Install the version of '{stored.package}' that the results were made with.",
        )
    return package.family
