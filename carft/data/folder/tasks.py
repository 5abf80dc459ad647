"""Loader of tasks on your own data."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from carft.data.card import Card, DataOptions
from carft.data.checking import left_out
from carft.data.fixtures import is_fixture
from carft.data.folder.family import data_set_of
from carft.data.folder.images import ImageTable
from carft.data.folder.naming import PREFIX, Name
from carft.data.indexing import indexed
from carft.data.loading import image_set, joined, require_every_class
from carft.data.task import ImageSet, Sealed, Task


def open_task(card: Card, table: ImageTable, name: Name, options: DataOptions) -> Task:
    """Open training and validation images of the domains in distribution."""
    broken = _broken(table, options)
    train, val = (joined([_images(table, d, split, broken) for d in name.id_domains]) for split in ("train", "val"))
    require_every_class(train, card)
    return Task(name=card.name, train=train, val=val, digests=_digests(table, broken))


def open_sealed(table: ImageTable, name: Name, options: DataOptions) -> Sealed:
    """Open the test stems: those of the domains in distribution as test set, those of each other domain as a suite."""
    broken = _broken(table, options)
    return Sealed(
        test=joined([_images(table, d, "test", broken) for d in name.id_domains]),
        suites={d: _images(table, d, "test", broken) for d in name.ood_domains},
    )


def _images(table: ImageTable, domain: str, split: str, broken: frozenset[Path]) -> ImageSet:
    part = table.part(domain, split)
    index = part.rows([i for i, path in enumerate(part.paths) if path not in broken])
    names = [path.relative_to(table.base).as_posix() for path in index.paths]
    return image_set(index, names, table.domains.index(domain) if len(table.domains) > 1 else -1)


def _broken(table: ImageTable, options: DataOptions) -> frozenset[Path]:
    return _unreadable(table.root, table.digest) if options.skip_unreadable else frozenset()


@lru_cache(maxsize=8)
def _unreadable(root: Path, digest: str) -> frozenset[Path]:
    return frozenset(indexed(data_set_of(f"{PREFIX}{root}"), Path(), decoded=True).unreadable)


def _digests(table: ImageTable, broken: frozenset[Path]) -> dict[str, str]:
    """Return the record's digests.

    The digest of the images is the version of the card, so ``attested`` is ``yes`` unless images are left out.
    """
    if is_fixture(table.base):
        attested = "no: fixture"
    elif broken:
        attested = f"no: {len(broken)} images cannot be read and were left out"
    else:
        attested = "yes"
    return {
        "folder": table.digest,
        "attested": attested,
        **left_out(path.relative_to(table.base).as_posix() for path in broken),
    }
