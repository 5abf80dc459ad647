"""What training and evaluation are handed: image sets, a task without its test set, and the sealed rest."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class ImageSet:
    """Decoded images with what is known of each.

    images: (N, 3, H, W) uint8. labels: (N,) int64, index into the task's classes. contexts: (N,) int64, index into
    the task's templates, -1 where the context is not known. names: one per image. groups: the resampling unit of
    each image (for an icon, its drawing).
    """

    images: torch.Tensor
    labels: torch.Tensor
    contexts: torch.Tensor
    names: tuple[str, ...]
    groups: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class Task:
    """A labelled training problem as search code sees it: no test set, no suites.

    classes: class names as words. templates: prompts with one ``{}``; row k of the context head is template k.
    """

    name: str
    classes: tuple[str, ...]
    templates: tuple[str, ...]
    train: ImageSet
    val: ImageSet
    digests: Mapping[str, str]


@dataclass(frozen=True)
class Sealed:
    """The evaluations of a task: the test set and the suites under distribution shift. Opened for confirm cells."""

    test: ImageSet
    suites: Mapping[str, ImageSet]

    def sets(self) -> dict[str, ImageSet]:
        """Set name -> images: ``test`` and ``ood/<suite>``."""
        return {"test": self.test, **{f"ood/{name}": images for name, images in self.suites.items()}}
