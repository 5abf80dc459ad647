"""The family of the icons world: the nine tasks, all in one, and one domain left out in turn. No torch."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from carft.core.commands import typed
from carft.data.card import Card, DataOptions
from carft.data.family import Family, Pool, Sizes, no_image
from carft.data.icons.cards import CARDS
from carft.data.icons.world import ALL, DEFAULT, DOMAINS, FULL, HANDS

if TYPE_CHECKING:
    import numpy as np

    from carft.data.icons.drawings import Drawing

#: the same nine tasks with more images of each held-out drawing
FULL_ICONS: tuple[str, ...] = tuple(name for name in CARDS if name.startswith(FULL))

#: the tasks of `sweep downstream` on the built-in world
DOWNSTREAM_ICONS: tuple[str, ...] = tuple(name.replace(FULL, "icons/") for name in FULL_ICONS)

#: DomainBed's protocol on the built-in world
ICON_DOMAINS: tuple[str, ...] = tuple(name for name in CARDS if name.startswith(DOMAINS))


def _pool(name: str, kind: str, title: str, tasks: tuple[str, ...], recipe: str) -> Pool:
    return Pool(name, kind, title, tasks, typed("sweep", recipe), CARDS[tasks[0]], built_in=True)


class Icons(Family):
    """Tasks whose images are drawn on this machine."""

    def count(self, card: Card, options: DataOptions) -> Sizes:
        from carft.data.icons.drawings import domains, drawings_of, parts

        if card.name in ICON_DOMAINS:
            kept = [parts(name) for name in domains() if name not in card.suites]
            train, val = (sum(len(domain[part]) for domain in kept) for part in ("train", "val"))
            return Sizes(train, val, sum(len(domains()[name]) for name in card.suites))
        counts = DEFAULT.renderings
        sizes = {part: len(drawings_of(DEFAULT, card.name, part)) for part in ("train", "val", "test", HANDS)}
        held_out = sizes["test"] + sum(sizes[suite if suite == HANDS else "test"] for suite in DEFAULT.suites)
        repeated = counts["full" if card.name in FULL_ICONS else "test"]
        return Sizes(counts["train"] * sizes["train"], counts["val"] * sizes["val"], repeated * held_out)

    def picture(self, card: Card, held_out: str, name: str, root: Path | None = None) -> np.ndarray:
        from carft.data.icons.rendering import render

        rest, _, number = name.rpartition("/")
        drawing, _, context = rest.rpartition("/")
        if drawing not in _drawings() or context not in DEFAULT.prompts or not number.isdecimal():
            raise no_image(card, name)
        return render(_drawings()[drawing], context, int(number))


@lru_cache(maxsize=1)
def _drawings() -> Mapping[str, Drawing]:
    from carft.data.icons.drawings import census

    return {drawing.name: drawing for drawing in census()}


FAMILY = Icons(
    "icons",
    CARDS,
    built_in_pools=(
        _pool("icons", "nine", "nine icon tasks", DOWNSTREAM_ICONS, "downstream"),
        _pool("icons-full", "nine", "nine icon tasks, full test sets", FULL_ICONS, "miniature-full"),
        _pool("icons/all", "single", "all icons in one task", (ALL,), "readings"),
        _pool("icons/domains", "domainbed", "icons, one domain left out", ICON_DOMAINS, "domainbed"),
    ),
)
