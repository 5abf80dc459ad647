"""What training and evaluation are handed: image sets, a task without its test set, and the sealed rest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

if TYPE_CHECKING:
    from carft.data.files import Files


@dataclass(frozen=True)
class ImageSet:
    """Images with what is known of each.

    images: decoded, (N, 3, H, W) uint8, or files that are decoded when they are needed. labels: (N,) int64, index
    into the task's classes. contexts: (N,) int64, index into the card's contexts, -1 where the context is not known.
    names: one per image. groups: the resampling unit of each image (for an icon, its drawing).
    subset: the classes that the set is scored over, ascending; None for all of them (ImageNet-R and -A: 200).
    merged: classes that count as one: the first's logit becomes the largest of theirs (ObjectNet's "chair" is any of
    three ImageNet chairs); ``subset`` and ``labels`` then hold the first.
    """

    images: torch.Tensor | Files
    labels: torch.Tensor
    contexts: torch.Tensor
    names: tuple[str, ...]
    groups: tuple[str, ...]
    subset: tuple[int, ...] | None = None
    merged: tuple[tuple[int, ...], ...] = ()

    def __len__(self) -> int:
        return len(self.labels)

    def rows(self, index: Sequence[int] | np.ndarray) -> ImageSet:
        """The images of these rows, in this order."""
        chosen = [int(i) for i in index]
        images = self.images[chosen] if isinstance(self.images, torch.Tensor) else self.images.rows(chosen)
        return ImageSet(
            images=images,
            labels=self.labels[chosen],
            contexts=self.contexts[chosen],
            names=tuple(self.names[i] for i in chosen),
            groups=tuple(self.groups[i] for i in chosen),
            subset=self.subset,
            merged=self.merged,
        )


@dataclass(frozen=True)
class Task:
    """A labelled training problem as search code sees it: no test set, no suites.

    digests: what the data were, for the record; ``attested`` says whether they are the data that the card means:
    ``yes``, ``no: <why>`` or ``unknown``.
    """

    name: str
    train: ImageSet
    val: ImageSet
    digests: Mapping[str, str]


@dataclass(frozen=True)
class Sealed:
    """The evaluations of a task: the test set, if it has one, and the suites under distribution shift."""

    test: ImageSet | None
    suites: Mapping[str, ImageSet]

    def sets(self) -> dict[str, ImageSet]:
        """Set name -> images: ``test`` and ``ood/<suite>``."""
        test = {} if self.test is None else {"test": self.test}
        return {**test, **{f"ood/{name}": images for name, images in self.suites.items()}}
