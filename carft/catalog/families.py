"""All families of tasks: those of this package, and those of installed packages. No torch.

A package has the entry point ``carft.data`` (docs/extending.md) under the name of the family. It leads to a
:class:`Family`, to a card, or to a list of cards.
"""

from dataclasses import replace
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from itertools import chain
from pkgutil import iter_modules

import carft.data
from carft.core.errors import UserError
from carft.core.source import installed, loaded, module_digest
from carft.data.card import STANDARD, Card
from carft.data.downstream.family import FAMILY as DOWNSTREAM_FAMILY
from carft.data.family import Family
from carft.data.folder.named import RESERVED
from carft.data.sets import DataSet

GROUP = "carft.data"


def family_name(task: str) -> str:
    """Return the first part of the name of a task."""
    return task.partition("/")[0]


def built_in_families() -> tuple[Family, ...]:
    """Return ``FAMILY`` of every ``carft/data/*/family.py``, but that of your own data, which has no cards."""
    families: list[Family] = []
    for folder in iter_modules(carft.data.__path__):
        module = f"carft.data.{folder.name}.family"
        if folder.ispkg and find_spec(module):
            families.append(import_module(module).FAMILY)
    families.sort(key=lambda family: (family.order, family.name))
    return tuple(family for family in families if family.cards)


#: the families of this package, in the order of `ls tasks` and of reports
FAMILIES = built_in_families()

CARDS: dict[str, Card] = {}
#: a task is made of one or more data sets
DATA_SETS: dict[str, DataSet] = {}
for _family in FAMILIES:
    CARDS.update(_family.cards)
    DATA_SETS.update(_family.data_sets)

#: the nine tasks of `sweep downstream` on real data
DOWNSTREAM: tuple[str, ...] = tuple(DOWNSTREAM_FAMILY.cards)

#: what the name of no task of your own may begin with
TAKEN = {"downstream", "domainbed", *map(family_name, (*CARDS, *DATA_SETS))}


@cache
def installed_family(name: str) -> Family | None:
    """Return the installed family of this name; None if there is none.

    Raises ``UserError`` for an entry point that leads to no family, or to a card that contradicts itself.
    """
    entry = installed(GROUP).get(name)
    if entry is None:
        return None
    content = loaded(entry)
    if isinstance(content, Card):
        content = [content]
    if isinstance(content, list | tuple) and content and all(isinstance(card, Card) for card in content):
        content = Family(name, {card.name: card for card in content})
    if not isinstance(content, Family):
        raise UserError(
            f"{entry.value}: it is no card of a task, no list of cards, and no family.", "See docs/extending.md."
        )
    for card in content.cards.values():
        if problem := _contradiction(card, name):
            raise UserError(f"{entry.value}: the task '{card.name}' cannot be: {problem}.", "See docs/extending.md.")
    return replace(content, digest=module_digest(entry.module))


def _contradiction(card: Card, family: str) -> str:
    """What a card of a family cannot be; empty for one that can be."""
    if family_name(card.name) != family:
        return f"its name does not begin with '{family}'"
    if not card.version or len(card.classes) < 2:
        return "it needs a version and two classes"
    if STANDARD not in card.banks:
        return f"it has no bank '{STANDARD}' of context templates"
    for prompt in chain(card.templates, card.contexts, *card.banks.values()):
        if prompt.count("{}") != 1:
            return f"the prompt '{prompt}' needs exactly one {{}}"
    if card.scale not in ("paper", "miniature", "own"):
        return f"there is no scale '{card.scale}'"
    for suite in card.suites:
        if "/" in suite or suite == RESERVED:
            return f"a suite cannot be called '{suite}'"
    if not card.has_test and not card.suites:
        return "it has no held-out set"
    return ""
