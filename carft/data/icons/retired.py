"""The earlier world whose records are published: its cards, so that reports read them. No cell runs on them.

It is also the ``loader`` of these cards.
"""

from collections.abc import Mapping
from dataclasses import replace

from carft.core.errors import retired
from carft.data.card import STANDARD, Card, DataOptions
from carft.data.icons.world import ALL, DOMAINS, SUITES

#: version of its data, first part of the names of its tasks, number of its contexts, which are the first of icons-3,
#: and a commit that can run cells on it
VERSION, PREFIX, CONTEXTS, COMMIT = "icons-2", "icons", 18, "9a36ff66"


def retired_cards(current: Mapping[str, Card]) -> dict[str, Card]:
    """Return the cards of the published tasks by name. current: those of the world of this package."""
    like = {f"{PREFIX}/all": current[ALL]}
    for suite in SUITES:
        like[f"{PREFIX}/domains/{suite}"] = current[f"{DOMAINS}{suite}"]
    return {name: _card(name, other) for name, other in like.items()}


def _card(name: str, like: Card) -> Card:
    prompts = like.templates[:CONTEXTS]
    return replace(
        like,
        name=name,
        measures=f"Drawn things of {VERSION}, which has left this package",
        version=VERSION,
        templates=prompts,
        contexts=prompts,
        banks={**like.banks, STANDARD: prompts, "domains": like.banks["domains"][:CONTEXTS]},
        pretrained=PREFIX,
        loader=__name__,
    )


def require_present(card: Card, options: DataOptions) -> None:
    """Raise ``UserError``: the data are not here."""
    raise retired("task", card.name, COMMIT)
