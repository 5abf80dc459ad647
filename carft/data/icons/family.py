"""The family of the icons world: nine tasks, all in one, and one domain left out in turn. No torch.

Published tasks of a world that has left the package have cards for reports alone.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from carft.core.errors import typed
from carft.data.card import STANDARD, Card
from carft.data.facts import imagenet_templates
from carft.data.family import Family, Pool
from carft.data.icons import retired
from carft.data.icons.world import ALL, DOMAINS, PREFIX, PROMPTS, SUITES, VERSION, tasks


def _card(name: str, classes: tuple[str, ...]) -> Card:
    suites, left_out = tuple(SUITES), ""
    has_domain_left_out = name.startswith(DOMAINS)
    if has_domain_left_out:
        held_out = name.removeprefix(DOMAINS)
        suites, left_out = (held_out,), f"; {held_out} are left out of training"
    which = "All" if has_domain_left_out or name == ALL else "Which"
    templates = tuple(PROMPTS.values())  # one prompt per context
    bare = tuple(f"{context.replace('-', ' ')} {{}}" for context in PROMPTS)
    return Card(
        name=name,
        measures=f"{which} drawn things: {', '.join(classes[:4])}, ...{left_out}",
        scale="miniature",
        version=VERSION,
        classes=classes,
        templates=templates,
        suites=suites,
        has_test=not has_domain_left_out,
        group="drawing",
        metric="top1",
        licence="Icons under MIT, Apache-2.0, ISC, OFL-1.1, BSD-3-Clause, CC0-1.0, CC-BY-3.0 and CC-BY-4.0 (NOTICE)",
        source="Collections of the npm package @iconify/json",
        model="icons-resnet",
        pretrained=PREFIX,
        loader="carft.data.icons.tasks",
        banks={STANDARD: templates, "imagenet": imagenet_templates(), "domains": bare},
        contexts=templates,
    )


#: task -> card
CARDS: dict[str, Card] = {name: _card(name, classes) for name, classes in tasks().items()}


#: the same of a world that has left this package
RETIRED: dict[str, Card] = retired.retired_cards(CARDS)


def _pools(cards: Mapping[str, Card], prefix: str, version: str = "") -> tuple[Pool, ...]:
    """Return the pools of a world, each with the command that fills it.

    prefix: first part of the names of its tasks. version: of a world that has left this package.
    """
    groups = (
        (prefix, "several", "nine icon tasks", "downstream"),
        (f"{prefix}-full", "several", "nine icon tasks, full test sets", "miniature-full"),
        (f"{prefix}/all", "single", "all icons in one task", "readings"),
        (f"{prefix}/domains", "domainbed", "icons, one domain left out", "domainbed"),
    )
    pools = []
    for name, kind, title, recipe in groups:
        own = tuple(task for task in cards if task.rpartition("/")[0] == name and task != f"{prefix}/all")
        if name in cards:
            own = (name,)
        command = typed("sweep", recipe)
        if version:
            command, title = typed("sweep", recipe, "--tasks", name), f"{title} ({version})"
        if own:
            pools.append(Pool(name, kind, title, own, command, cards[own[0]], built_in=True))
    return tuple(pools)


@dataclass(frozen=True, eq=False)
class IconsFamily(Family):
    """The tasks of the world, and those of one that has left this package, which only reports ask for."""

    def card(self, task: str) -> Card | None:
        return self.cards.get(task) or RETIRED.get(task)

    def pools(self, studied: Iterable[str]) -> tuple[Pool, ...]:
        """Return the pools of the world, and those of the earlier one that a results folder has tasks of."""
        names = set(studied)
        earlier = _pools(RETIRED, retired.PREFIX, retired.VERSION)
        return self.built_in_pools + tuple(pool for pool in earlier if names.intersection(pool.tasks))


FAMILY = IconsFamily("icons", CARDS, built_in_pools=_pools(CARDS, PREFIX), order=1)
