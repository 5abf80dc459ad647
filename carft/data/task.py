"""Image sets, tasks and their held-out sets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from carft.data.image_files import Files
from carft.data.index import Index, rows_of, together


@dataclass(frozen=True)
class ImageSet:
    """N images and what is known of each."""

    images: torch.Tensor | Files
    """Decoded, (N, 3, H, W) uint8, or files that are decoded on access."""
    labels: torch.Tensor
    """(N,) int64 indices into the classes of the task."""
    contexts: torch.Tensor
    """(N,) int64 indices into the contexts of the card; -1 where the context is unknown."""
    names: Sequence[str]
    groups: Sequence[str]
    """Resampling unit of each image; for an icon, its drawing."""
    subset: tuple[int, ...] | None = None
    """Classes that the set is scored over, ascending; None for all. ImageNet-R and -A have 200."""
    merged: tuple[tuple[int, ...], ...] = ()
    """Groups of classes that count as one. The first class of a group gets the largest logit of the group; ``subset``
    and ``labels`` hold the first. ObjectNet's "chair" is any of three ImageNet chairs."""
    digest: str = ""
    """Of the pixels in memory, as of :func:`carft.core.array_cache.array_digest`; empty for files."""

    def __len__(self) -> int:
        return len(self.labels)

    @staticmethod
    def of(
        parts: Sequence[Index],
        names: Sequence[Sequence[str]],
        contexts: Sequence[int],
        border: int = 0,
        pixels: np.ndarray | None = None,
    ) -> ImageSet:
        """Return the images of all parts, one after the other.

        names, contexts: of each part, the names of its images and their context. border: see :class:`Files`. pixels: of
        all parts; by default the images are files.
        """
        index = Index.of(parts)
        images: torch.Tensor | Files = Files(index.paths, border)
        if pixels is not None:
            images = torch.from_numpy(pixels)
        sizes = torch.tensor([len(part) for part in parts])
        return ImageSet(
            images=images,
            labels=torch.tensor(index.labels, dtype=torch.int64),
            contexts=torch.tensor(contexts).repeat_interleave(sizes),
            names=together(names),
            groups=index.groups,
        )

    def rows(self, index: Sequence[int] | np.ndarray) -> ImageSet:
        """Return the images of these rows, in this order."""
        chosen = [int(i) for i in index]
        images = self.images[chosen] if isinstance(self.images, torch.Tensor) else self.images.rows(chosen)
        return replace(
            self,
            images=images,
            labels=self.labels[chosen],
            contexts=self.contexts[chosen],
            names=rows_of(self.names, chosen),
            groups=rows_of(self.groups, chosen),
            digest="",
        )


@dataclass(frozen=True)
class Task:
    """A labelled training problem without its test set and suites. Search code gets nothing else."""

    name: str
    train: ImageSet
    val: ImageSet
    digests: Mapping[str, str]
    """Digests of the data, for the record. ``attested`` is ``yes``, ``no: <why>`` or ``unknown``."""


@dataclass(frozen=True)
class Sealed:
    """The held-out sets of a task."""

    test: ImageSet | None
    """None for a task without a test set in distribution."""
    suites: Mapping[str, ImageSet]
    """Suite -> images."""

    def sets(self) -> dict[str, ImageSet]:
        """Return set name -> images: ``test`` and ``ood/<suite>``."""
        found = {}
        if self.test is not None:
            found["test"] = self.test
        for name, images in self.suites.items():
            found[f"ood/{name}"] = images
        return found
