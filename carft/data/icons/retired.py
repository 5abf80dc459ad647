"""Tasks of worlds that have left this package: their cards, so that reports read their records. No cell runs on them.

It is also the ``loader`` of these cards.
"""

from collections.abc import Mapping
from dataclasses import replace

from carft.core.errors import UserError
from carft.data.card import STANDARD, Card, DataOptions
from carft.data.facts import facts
from carft.data.icons.world import ALL, DOMAINS, FULL, SUITES, nine_tasks

#: version of the data -> prefix of its tasks, and how many of the contexts of icons-3 it had (the first ones)
WORLDS = {"icons-2": ("icons", 18)}
#: a commit that can run cells on them
COMMIT = "9a36ff66"


def retired_cards(version: str, current: Mapping[str, Card]) -> dict[str, Card]:
    """Return the cards of a world by name. Its nine tasks are the groups of classes.json.

    current: the cards of the world of this package.
    """
    prefix, contexts = WORLDS[version]
    groups = facts("classes", "carft.data.icons")
    like = {f"{prefix}/all": current[ALL]}
    classes = dict.fromkeys((*like, *(f"{prefix}/domains/{suite}" for suite in SUITES)), current[ALL].classes)
    for suite in SUITES:
        like[f"{prefix}/domains/{suite}"] = current[f"{DOMAINS}{suite}"]
    for (group, of_group), task in zip(groups.items(), nine_tasks(), strict=True):
        for name, other in ((f"{prefix}/{group}", task), (f"{prefix}-full/{group}", FULL + task.rpartition("/")[2])):
            like[name], classes[name] = current[other], tuple(of_group)
    return {name: _card(name, version, classes[name], other, contexts) for name, other in like.items()}


def _card(name: str, version: str, classes: tuple[str, ...], like: Card, contexts: int) -> Card:
    prompts = like.templates[:contexts]
    return replace(
        like,
        name=name,
        measures=f"Drawn things of {version}, which has left this package",
        version=version,
        classes=classes,
        templates=prompts,
        contexts=prompts,
        banks={**like.banks, STANDARD: prompts, "domains": like.banks["domains"][:contexts]},
        pretrained=WORLDS[version][0],
        loader=__name__,
    )


def require_present(card: Card, options: DataOptions) -> None:
    """Raise ``UserError``: the data are not here."""
    raise UserError(
        f"The task '{card.name}' was removed. Its records can still be read and reported.",
        f"To run cells on it, use commit {COMMIT}, which has it.",
    )
