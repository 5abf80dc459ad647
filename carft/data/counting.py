"""Numbers of images of a task, from the catalog, without opening the data. No torch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from carft.data.card import Card
from carft.data.catalog import card, data_set
from carft.data.domainbed.cards import VALIDATION as DOMAINBED_SHARE
from carft.data.imagenet.cards import VALIDATION as IMAGENET_SHARE
from carft.data.splitting import SHARE


@dataclass(frozen=True)
class Sizes:
    """Numbers of images of a task."""

    train: int
    val: int
    sealed: int
    """Test set and all suites together."""


def sizes_of(task: str) -> Sizes:
    """Return the sizes of a task.

    They are exact for the built-in world and your own data. Where validation images are held out of training images,
    they are exact up to rounding per class. For a fixture they are those of the real set.
    """
    chosen = card(task)
    return FAMILIES[chosen.loader](chosen)


def _icons(chosen: Card) -> Sizes:
    from carft.data.icons.drawings import census
    from carft.data.icons.world import ALL, FULL, FULL_RENDERINGS, RENDERINGS, SUITES

    def images(split: str, count: int) -> int:
        task = chosen.name.rpartition("/")[2]
        return count * sum(d.split == split and (chosen.name == ALL or d.task == task) for d in census())

    held_out = FULL_RENDERINGS if chosen.name.startswith(FULL) else RENDERINGS["test"]
    suites = sum(images("hands" if suite == "hands" else "test", held_out) for suite in SUITES)
    train, val = (images(split, RENDERINGS[split]) for split in ("train", "val"))
    return Sizes(train, val, images("test", held_out) + suites)


def _icon_domains(chosen: Card) -> Sizes:
    from carft.data.icons.domains import domains, parts

    kept = [parts(name) for name in domains() if name not in chosen.suites]
    train, val = (sum(len(domain[part]) for domain in kept) for part in ("train", "val"))
    return Sizes(train, val, sum(len(domains()[name]) for name in chosen.suites))


def _folder(chosen: Card) -> Sizes:
    from carft.data.folder.named import located

    tree, name = located(chosen.name)

    def images(split: str, domains: tuple[str, ...]) -> int:
        return sum(len(tree.part(domain, split)) for domain in domains)

    train, val = images("train", name.id_domains), images("val", name.id_domains)
    return Sizes(train, val, images("test", (*name.id_domains, *name.ood_domains)))


def _downstream(chosen: Card) -> Sizes:
    counts = data_set(chosen.name).counts
    if "val" in counts:
        return Sizes(counts["train"], counts["val"], counts["test"])
    return _carved(counts["train"], SHARE, counts["test"])


def _imagenet(chosen: Card) -> Sizes:
    suites = sum(sum(data_set(name).counts.values()) for name in chosen.suites)
    counts = data_set("imagenet").counts
    return _carved(counts["train"], IMAGENET_SHARE, counts["test"] + suites)


def _domainbed(chosen: Card) -> Sizes:
    name, held_out = chosen.name.split("/")
    counts = data_set(name).counts
    return _carved(sum(counts.values()) - counts[held_out], DOMAINBED_SHARE, counts[held_out])


def _carved(count: int, share: float, sealed: int) -> Sizes:
    val = round(count * share)
    return Sizes(count - val, val, sealed)


#: loader -> function that counts the images of its tasks
FAMILIES: dict[str, Callable[[Card], Sizes]] = {
    "carft.data.icons.tasks": _icons,
    "carft.data.icons.domains": _icon_domains,
    "carft.data.folder.tasks": _folder,
    "carft.data.downstream.tasks": _downstream,
    "carft.data.imagenet.tasks": _imagenet,
    "carft.data.domainbed.tasks": _domainbed,
}
