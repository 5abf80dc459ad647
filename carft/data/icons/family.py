"""The family of the icons worlds: nine tasks, all in one, and one domain left out in turn. No torch."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from carft.core.commands import typed
from carft.data.card import Card, DataOptions
from carft.data.family import Family, Pool, Sizes, no_image
from carft.data.icons.cards import CARDS
from carft.data.icons.world import DEFAULT, HANDS, ICONS_2, ICONS_3, IN_CATALOG, WORLDS, World, nine_tasks

if TYPE_CHECKING:
    import numpy as np

    from carft.data.icons.drawings import Drawing

#: the nine tasks of icons-2
DOWNSTREAM_ICONS: tuple[str, ...] = nine_tasks(ICONS_2)

#: the same nine tasks with more images of each held-out drawing
FULL_ICONS: tuple[str, ...] = tuple(name for name in CARDS if name.startswith(ICONS_2.full))

#: DomainBed's protocol on icons-2
ICON_DOMAINS: tuple[str, ...] = tuple(name for name in CARDS if name.startswith(ICONS_2.domains))


def _pools(world: World) -> tuple[Pool, ...]:
    """Return the pools of a world, each with the command that fills it. The recipes' own tasks are of icons-3."""
    full, domains = (tuple(n for n in CARDS if n.startswith(start)) for start in (world.full, world.domains))
    groups = (
        (world.prefix, "nine", "nine icon tasks", nine_tasks(world), "downstream"),
        (world.full[:-1], "nine", "nine icon tasks, full test sets", full, "miniature-full"),
        (world.all, "single", "all icons in one task", (world.all,), "readings"),
        (world.domains[:-1], "domainbed", "icons, one domain left out", domains, "domainbed"),
    )
    pools = []
    for name, kind, title, tasks, recipe in groups:
        command = typed("sweep", recipe)
        if world is not ICONS_3 or recipe == "readings":
            command = typed("sweep", recipe, "--tasks", ",".join(tasks) if name == world.prefix else name)
        if world is not DEFAULT:
            title = f"{title} ({world.version})"
        pools.append(Pool(name, kind, title, tasks, command, CARDS[tasks[0]], built_in=True))
    return tuple(pools)


class Icons(Family):
    """Tasks whose images are drawn on this machine."""

    def count(self, card: Card, options: DataOptions) -> Sizes:
        from carft.data.icons.drawings import domains, drawings_of, parts

        world = WORLDS[card.version]
        if not card.has_test:
            kept = [parts(name, world) for name in domains(world) if name not in card.suites]
            train, val = (sum(len(domain[part]) for domain in kept) for part in ("train", "val"))
            return Sizes(train, val, sum(len(domains(world)[name]) for name in card.suites))
        counts = world.renderings
        sizes = {part: len(drawings_of(world, card.name, part)) for part in ("train", "val", "test", HANDS)}
        held_out = sizes["test"] + sum(sizes[suite if suite == HANDS else "test"] for suite in world.suites)
        repeated = counts["full" if card.name.startswith(world.full) else "test"]
        return Sizes(counts["train"] * sizes["train"], counts["val"] * sizes["val"], repeated * held_out)

    def picture(self, card: Card, held_out: str, name: str, root: Path | None = None) -> np.ndarray:
        from carft.data.icons.rendering import render

        rest, _, number = name.rpartition("/")
        drawing, _, context = rest.rpartition("/")
        world = WORLDS[card.version]
        if drawing not in _drawings() or context not in world.prompts or not number.isdecimal():
            raise no_image(card, name)
        return render(_drawings()[drawing], context, int(number), world)


@lru_cache(maxsize=1)
def _drawings() -> Mapping[str, Drawing]:
    from carft.data.icons.drawings import census

    return {drawing.name: drawing for drawing in census()}


FAMILY: Icons = Icons(
    "icons", CARDS, built_in_pools=tuple(pool for world in IN_CATALOG for pool in _pools(world)), order=1
)
