"""Loader of tasks on your own data."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from carft.core.errors import UserError
from carft.data.card import Card, DataOptions
from carft.data.checking import left_out
from carft.data.fixtures import is_fixture
from carft.data.folder.cards import data_set_of
from carft.data.folder.named import located, version_of
from carft.data.folder.naming import PREFIX
from carft.data.folder.tree import Tree
from carft.data.indexing import indexed
from carft.data.loading import image_set, joined, require_every_class
from carft.data.task import ImageSet, Sealed, Task


def require_present(card: Card, options: DataOptions) -> None:
    """Raise ``UserError`` if the tree changed after the card was made, or if a split or class is empty."""
    tree, name = located(card.name)
    if not card.version.startswith(version_of(tree)):
        raise UserError(f"'{tree.root}' changed since this task was named.", "Run the command again.")
    everywhere = [tree.part(domain, "train") for domain in name.id_domains]
    trained = {label for index in everywhere for label in index.labels}
    if bare := [word for label, word in enumerate(tree.words) if label not in trained]:
        raise UserError(
            f"The class '{bare[0]}' has no image to train on in {', '.join(name.id_domains)} of '{tree.root}'.",
            f"Add images, or {_split_words(tree, 'images for training')}.",
        )
    needed = [("val", name.id_domains), ("test", name.id_domains), *(("test", (d,)) for d in name.ood_domains)]
    for split, domains in needed:
        if domains and not any(len(tree.part(domain, split)) for domain in domains):
            raise UserError(
                f"'{tree.root}' has no image for {split} in {', '.join(domains)}.",
                f"Add images, or {_split_words(tree, 'the images of each split')}.",
            )


def unmeasured(card: Card) -> list[str]:
    """Return a sentence for validation and test each where classes have no image there, so that no number is theirs."""
    tree, name = located(card.name)
    lines = []
    for split in ("val", "test"):
        labels = {label for domain in name.id_domains for label in tree.part(domain, split).labels}
        if 0 < len(labels) < len(tree.words):
            bare = [word for label, word in enumerate(tree.words) if label not in labels]
            lines.append(
                f"{len(bare)} of {len(tree.words)} classes have no image for {split} in {', '.join(name.id_domains)}, "
                f"'{bare[0]}' first: accuracy there is not about them."
            )
    return lines


def _split_words(tree: Tree, what: str) -> str:
    """How a person says which images a split has."""
    if tree.root == tree.base:
        return f"list {what} by stem in split.json"
    return f"name {what} in the table's column split"


def open_task(card: Card, options: DataOptions) -> Task:
    """Open training and validation images of the domains in distribution."""
    tree, name = located(card.name)
    broken = _broken(tree, options)
    train, val = (joined([_images(tree, d, split, broken) for d in name.id_domains]) for split in ("train", "val"))
    require_every_class(train, card)
    return Task(name=card.name, train=train, val=val, digests=_digests(tree, broken))


def open_sealed(card: Card, options: DataOptions) -> Sealed:
    """Open the test stems: those of the domains in distribution as test set, those of each other domain as a suite."""
    tree, name = located(card.name)
    broken = _broken(tree, options)
    return Sealed(
        test=joined([_images(tree, d, "test", broken) for d in name.id_domains]),
        suites={d: _images(tree, d, "test", broken) for d in name.ood_domains},
    )


def _images(tree: Tree, domain: str, split: str, broken: frozenset[Path]) -> ImageSet:
    part = tree.part(domain, split)
    index = part.rows([i for i, path in enumerate(part.paths) if path not in broken])
    names = [path.relative_to(tree.base).as_posix() for path in index.paths]
    return image_set(index, names, tree.domains.index(domain) if len(tree.domains) > 1 else -1)


def _broken(tree: Tree, options: DataOptions) -> frozenset[Path]:
    return _unreadable(tree.root, tree.digest) if options.skip_unreadable else frozenset()


@lru_cache(maxsize=8)
def _unreadable(root: Path, digest: str) -> frozenset[Path]:
    return frozenset(indexed(data_set_of(f"{PREFIX}{root}"), Path(), decoded=True).unreadable)


def _digests(tree: Tree, broken: frozenset[Path]) -> dict[str, str]:
    """Return the record's digests. The digest of the tree is the version of the card, so ``attested`` is ``yes`` unless
    images are left out."""
    if is_fixture(tree.base):
        attested = "no: fixture"
    elif broken:
        attested = f"no: {len(broken)} images cannot be read and were left out"
    else:
        attested = "yes"
    return {
        "folder": tree.digest,
        "attested": attested,
        **left_out(path.relative_to(tree.base).as_posix() for path in broken),
    }
