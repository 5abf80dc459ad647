"""From indexes of files to image sets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from carft.core.errors import UserError
from carft.data.card import Card
from carft.data.checking import attest, unreadable_of
from carft.data.downstream.tasks import digests
from carft.data.files import Files
from carft.data.sets import DataSet, Index
from carft.data.task import ImageSet


def image_set(
    index: Index,
    names: Sequence[str],
    context: int = -1,
    labels: Sequence[int] | None = None,
    subset: tuple[int, ...] | None = None,
    merged: tuple[tuple[int, ...], ...] = (),
    border: int = 0,
) -> ImageSet:
    """The images of an index, all of one context.

    names: one per image. labels: the task's label of each label of the index; by default the same.
    subset, merged, border: as in ``ImageSet`` and ``Files``.
    """
    own = index.labels if labels is None else [labels[label] for label in index.labels]
    return ImageSet(
        images=Files(index.paths, border),
        labels=torch.tensor(own, dtype=torch.int64),
        contexts=torch.full((len(index),), context, dtype=torch.int64),
        names=tuple(names),
        groups=index.groups,
        subset=subset,
        merged=merged,
    )


def require_every_class(images: ImageSet, card: Card) -> ImageSet:
    """Training images as they are; ``UserError`` when a class has none, as can be once unreadable ones are left out."""
    present = set(images.labels.tolist())
    if missing := [name for label, name in enumerate(card.classes) if label not in present]:
        raise UserError(
            f"{card.name} has no image to train on of the class '{missing[0]}'.",
            "Put whole copies in the place of the images that cannot be read.",
        )
    return images


def joined(parts: Sequence[ImageSet]) -> ImageSet:
    """Image sets on files, one after another, as one; all are scored over the same classes."""
    first = parts[0]
    return ImageSet(
        images=Files(tuple(path for part in parts for path in part.images.paths), first.images.border),  # type: ignore[union-attr]
        labels=torch.cat([part.labels for part in parts]),
        contexts=torch.cat([part.contexts for part in parts]),
        names=tuple(name for part in parts for name in part.names),
        groups=tuple(group for part in parts for group in part.groups),
        subset=first.subset,
        merged=first.merged,
    )


@dataclass(frozen=True)
class Opened:
    """A data set as it was found. splits: split or domain -> images. broken: files that are left out.

    digests: what the set was, for the record.
    """

    splits: Mapping[str, Index]
    broken: frozenset[Path]
    digests: Mapping[str, str]

    def whole(self, index: Index) -> Index:
        """The images of an index that are not left out."""
        return (
            index.rows([i for i, path in enumerate(index.paths) if path not in self.broken]) if self.broken else index
        )


def opened(data_set: DataSet, root: Path, skip_unreadable: bool) -> Opened:
    """Read a data set's layout; with ``skip_unreadable`` read every image as well."""
    splits = data_set.index(root)
    broken = unreadable_of(data_set, splits) if skip_unreadable else {}
    return Opened(splits, frozenset(broken), digests(attest(data_set, root, splits, broken)))


def together(found: Mapping[str, Mapping[str, str]]) -> dict[str, str]:
    """The digests of several data sets as one record: ``attested`` is the least of theirs, with the sets' names."""
    said = {name: digests["attested"] for name, digests in found.items()}
    reasons: dict[str, list[str]] = {}
    for name, word in said.items():
        if word.startswith("no: "):
            reasons.setdefault(word.removeprefix("no: "), []).append(name)
    if reasons:
        attested = "no: " + " ".join(f"{', '.join(names)}: {why}" for why, names in reasons.items())
    else:
        attested = "unknown" if "unknown" in said.values() else "yes"
    left_out = [f"{name}: {digests['left out']}" for name, digests in found.items() if "left out" in digests]
    return {
        "attested": attested,
        **{name: digests[name] for name, digests in found.items()},
        **({"left out": "; ".join(left_out)} if left_out else {}),
    }
