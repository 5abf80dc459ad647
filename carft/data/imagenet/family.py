"""The family of ImageNet and its shifts. No torch."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from carft.core.commands import typed
from carft.core.errors import UserError
from carft.data.card import Card, DataOptions
from carft.data.decoding import decode_pixels
from carft.data.family import Pool, Sizes, image_file
from carft.data.imagenet.cards import CARDS, DATA_SETS, IMAGENET_LABELS, VALIDATION, merged, subset
from carft.data.loading import DataSetFamily, image_set, require_every_class
from carft.data.sets import Index

if TYPE_CHECKING:
    import numpy as np

    from carft.data.task import ImageSet, Sealed, Task


class ImageNet(DataSetFamily):
    """One task with five data sets as suites."""

    def open_task(self, card: Card, options: DataOptions, holdout: str = "stable") -> Task:
        """Open training images, and the held-out share of them as validation images.

        Suites that exist and are complete are opened, so that the record says which: an incomplete ObjectNet has gone
        unnoticed in a published table.
        """
        from carft.data.task import Task

        found = self.opened("imagenet", options)
        train, val = (found.readable(part) for part in found.carved("train", VALIDATION))
        digests = {"imagenet": found.digests}
        for name in card.suites:
            with suppress(UserError):
                digests[name] = self.opened(name, options).digests
        images = require_every_class(_images("imagenet", train), card)
        return Task(card.name, images, _images("imagenet", val), _combined(digests))

    def open_sealed(self, card: Card, options: DataOptions, target_split: str = "all") -> Sealed:
        """Open ILSVRC's validation images as the test set, and the five suites."""
        from carft.data.task import Sealed

        found = {name: self.opened(name, options) for name in card.data_sets}
        images = {name: _images(name, one.readable(one.splits["test"])) for name, one in found.items()}
        return Sealed(images.pop("imagenet"), images)

    def count(self, card: Card, options: DataOptions) -> Sizes:
        suites = sum(sum(self.data_sets[name].counts.values()) for name in card.suites)
        counts = self.data_sets["imagenet"].counts
        return Sizes.split(counts["train"], VALIDATION, counts["test"] + suites)

    def picture(self, card: Card, held_out: str, name: str, root: Path | None = None) -> np.ndarray:
        data_set = DATA_SETS[held_out.removeprefix("ood/") if held_out.startswith("ood/") else "imagenet"]
        folder = f"{data_set.folder}/{data_set.parts['test'].folder}"
        return decode_pixels(image_file(card, root, folder, name), data_set.border)


def _combined(found: Mapping[str, Mapping[str, str]]) -> dict[str, str]:
    """Combine the digests of data sets: ``attested`` is the weakest of theirs, with the names of the sets."""
    states = {name: digests["attested"] for name, digests in found.items()}
    reasons: dict[str, list[str]] = {}
    for name, state in states.items():
        if state.startswith("no: "):
            reasons.setdefault(state.removeprefix("no: "), []).append(name)
    if reasons:
        attested = "no: " + " ".join(f"{', '.join(names)}: {why}" for why, names in reasons.items())
    else:
        attested = "unknown" if "unknown" in states.values() else "yes"
    left_out = [f"{name}: {digests['left out']}" for name, digests in found.items() if "left out" in digests]
    return {
        "attested": attested,
        **{name: digests[name] for name, digests in found.items()},
        **({"left out": "; ".join(left_out)} if left_out else {}),
    }


def _images(name: str, index: Index) -> ImageSet:
    return image_set(
        index,
        index.groups,
        labels=[labels[0] for labels in IMAGENET_LABELS[name]],
        subset=subset(name),
        merged=merged(name),
        border=DATA_SETS[name].border,
    )


_COMMAND = typed("sweep", "ood", "--data", "ROOT")
_POOL = Pool(
    "imagenet", "imagenet", "ImageNet and its shifts", ("imagenet",), _COMMAND, CARDS["imagenet"], built_in=True
)
FAMILY = ImageNet("imagenet", CARDS, DATA_SETS, (_POOL,))
