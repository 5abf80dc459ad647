"""Tasks from outside this package: the entry points ``carft.data`` (docs/extending.md). No torch.

The entry point has the name of the tasks' family, or of a single task, and leads to their cards.
"""

from __future__ import annotations

from collections.abc import Iterable

from carft.core.errors import UserError
from carft.core.source import installed, loaded, module_digest
from carft.data.card import STANDARD, Card

GROUP = "carft.data"
#: task -> card of the entry points that were loaded, and digest of their source
_cards: dict[str, Card] = {}
_digests: dict[str, str] = {}


def installed_card(name: str, taken: Iterable[str]) -> Card | None:
    """Return the card of an installed task; None if there is none of this name.

    taken: first parts of names that are not free. Raises ``UserError`` for an entry point that cannot be.
    """
    family = name.partition("/")[0]
    if name not in _cards and (entry := installed(GROUP).get(family)) is not None:
        if family in taken:
            raise UserError(f"The entry point '{family}' of {GROUP} has a name of the catalog.", "Rename it.")
        found = loaded(entry)
        cards = [found] if isinstance(found, Card) else list(found) if isinstance(found, list | tuple) else []
        for card in cards or [None]:
            _require_card(card, family, entry.value)
        _cards.update({card.name: card for card in cards})
        _digests.update({card.name: module_digest(entry.module) for card in cards})
    return _cards.get(name)


def data_digest(task: str) -> str:
    """Return the digest of the source of an installed task; empty for all others."""
    return _digests.get(task, "")


def _require_card(card: object, family: str, source: str) -> None:
    if not isinstance(card, Card):
        raise UserError(f"{source}: it is no card of a task, and no list of cards.", "See docs/extending.md.")
    problems = [
        *([] if card.name.partition("/")[0] == family else [f"its name does not begin with '{family}'"]),
        *([] if card.version and len(card.classes) > 1 else ["it needs a version and two classes"]),
        *([] if STANDARD in card.banks else [f"it has no bank '{STANDARD}' of context templates"]),
        *(
            f"the prompt '{prompt}' needs exactly one {{}}"
            for prompt in (*card.templates, *card.contexts, *(p for bank in card.banks.values() for p in bank))
            if prompt.count("{}") != 1
        ),
        *([] if card.scale in ("paper", "miniature", "own") else [f"there is no scale '{card.scale}'"]),
        *([] if card.has_test or card.suites else ["it has no held-out set"]),
    ]
    if problems:
        raise UserError(f"{source}: the task '{card.name}' cannot be: {problems[0]}.", "See docs/extending.md.")
