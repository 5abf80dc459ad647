"""From your own tree to image sets: the loader of folder tasks."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from carft.core.errors import UserError
from carft.data.card import Card, Where
from carft.data.checking import unreadable_of
from carft.data.fixtures import is_fixture
from carft.data.folder.cards import data_set_of
from carft.data.folder.layout import Tree, read
from carft.data.folder.naming import PREFIX, Name, chosen, parse
from carft.data.loading import image_set, joined, require_every_class
from carft.data.task import ImageSet, Sealed, Task


def require_present(card: Card, where: Where) -> None:
    """``UserError`` when the tree is not the one that the card was made from, or a split or class is left empty."""
    tree, name = _opened(card)
    if f"folder-{tree.digest}" != card.version:
        raise UserError(f"'{tree.root}' changed since this task was named.", "Run the command again.")
    everywhere = [tree.part(domain, "train") for domain in name.id_domains]
    trained = {label for index in everywhere for label in index.labels}
    if bare := [word for label, word in enumerate(tree.words) if label not in trained]:
        raise UserError(
            f"The class '{bare[0]}' has no image to train on in {', '.join(name.id_domains)} of '{tree.root}'.",
            "Add images, or say in split.json which stems are for training.",
        )
    needed = [("val", name.id_domains), ("test", name.id_domains), *(("test", (d,)) for d in name.ood_domains)]
    for split, domains in needed:
        if not any(len(tree.part(domain, split)) for domain in domains):
            raise UserError(
                f"'{tree.root}' has no image for {split} in {', '.join(domains)}.",
                "Add images, or say in split.json which stems go where.",
            )


def open_task(card: Card, where: Where) -> Task:
    """Training and validation images of the domains in distribution."""
    tree, name = _opened(card)
    broken = _broken(tree) if where.skip_unreadable else frozenset()
    train, val = (joined([_images(tree, d, split, broken) for d in name.id_domains]) for split in ("train", "val"))
    require_every_class(train, card)
    return Task(name=card.name, train=train, val=val, digests=_digests(tree, broken))


def open_sealed(card: Card, where: Where) -> Sealed:
    """The test stems of the domains in distribution as test set, those of each other domain as its suite."""
    tree, name = _opened(card)
    broken = _broken(tree) if where.skip_unreadable else frozenset()
    return Sealed(
        test=joined([_images(tree, d, "test", broken) for d in name.id_domains]),
        suites={d: _images(tree, d, "test", broken) for d in name.ood_domains},
    )


def _opened(card: Card) -> tuple[Tree, Name]:
    name = parse(card.name)
    tree = read(name.path)
    return tree, chosen(name, tree.domains)


def _images(tree: Tree, domain: str, split: str, broken: frozenset[Path]) -> ImageSet:
    part = tree.part(domain, split)
    index = part.rows([i for i, path in enumerate(part.paths) if path not in broken])
    names = [path.relative_to(tree.root).as_posix() for path in index.paths]
    return image_set(index, names, tree.domains.index(domain))


def _broken(tree: Tree) -> frozenset[Path]:
    return _unreadable(tree.root, tree.digest)


@lru_cache(maxsize=8)
def _unreadable(root: Path, digest: str) -> frozenset[Path]:
    return frozenset(unreadable_of(data_set_of(f"{PREFIX}{root}"), read(root).images))


def _digests(tree: Tree, broken: frozenset[Path]) -> dict[str, str]:
    """The tree is what the card means, since its digest is the card's version, unless something was left out."""
    if is_fixture(tree.root):
        attested = "no: fixture"
    elif broken:
        attested = f"no: {len(broken)} images cannot be read and were left out"
    else:
        attested = "yes"
    names = sorted(path.relative_to(tree.root).as_posix() for path in broken)
    left_out = {"left out": f"{len(names)}: {', '.join(names)}"} if names else {}
    return {"folder": tree.digest, "attested": attested, **left_out}
