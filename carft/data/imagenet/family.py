"""The family of ImageNet and its shifts. No torch."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from carft.core.errors import UserError
from carft.data.card import STANDARD, Card, DataOptions
from carft.data.decoding import decode_pixels
from carft.data.facts import imagenet_templates, table
from carft.data.family import Sizes, image_file, pool_of
from carft.data.loading import DataSetFamily, image_set, opened, require_every_class
from carft.data.sets import Index
from carft.data.trees import Part, Tree

if TYPE_CHECKING:
    import numpy as np

    from carft.data.task import ImageSet, Sealed, Task


#: share of each class that is held out of training for validation, about 26 images. Validation only selects
#: hyperparameters, and 10 % would take 128,000 images from training
VALIDATION = 0.02

_CLASSES: dict[str, str] = table("carft.data.imagenet", "classes")["classes"]
_SUBSETS = table("carft.data.imagenet", "subsets")
_OBJECTNET: dict[str, list[str]] = table("carft.data.imagenet", "objectnet")["classes"]

#: synsets in label order
SYNSETS: tuple[str, ...] = tuple(_CLASSES)
_LABELS = {synset: label for label, synset in enumerate(SYNSETS)}

#: data set -> class folder -> its synsets, in the order of its labels; only ObjectNet has classes of several
_SYNSETS_OF: dict[str, dict[str, list[str]]] = {
    "imagenet": {synset: [synset] for synset in SYNSETS},
    "imagenet-v2": {str(label): [synset] for label, synset in enumerate(SYNSETS)},
    "imagenet-r": {synset: [synset] for synset in _SUBSETS["imagenet-r"]},
    "imagenet-a": {synset: [synset] for synset in _SUBSETS["imagenet-a"]},
    "imagenet-sketch": {synset: [synset] for synset in SYNSETS},
    "objectnet": _OBJECTNET,
}

#: data set -> names of its class folders, in the order of its labels
FOLDERS: dict[str, tuple[str, ...]] = {name: tuple(folders) for name, folders in _SYNSETS_OF.items()}

#: data set -> the ImageNet labels of each of its labels
IMAGENET_LABELS: dict[str, tuple[tuple[int, ...], ...]] = {
    name: tuple(tuple(_LABELS[synset] for synset in synsets) for synsets in folders.values())
    for name, folders in _SYNSETS_OF.items()
}


def _names(data_set: str) -> tuple[str, ...]:
    if data_set == "objectnet":
        return tuple(folder.replace("_", " ") for folder in FOLDERS[data_set])
    return tuple(_CLASSES[SYNSETS[label]] for (label,) in IMAGENET_LABELS[data_set])


#: in fixtures: domain of the drawings, and file name extension
_DRAWN = {"imagenet-r": 1, "imagenet-a": 2, "imagenet-sketch": 3, "objectnet": 4}
_ENDINGS = {"imagenet": "JPEG", "imagenet-v2": "jpeg", "imagenet-sketch": "JPEG", "objectnet": "png"}


def _data_set(
    name: str,
    folder: str,
    measures: str,
    counts: dict[str, int],
    licence: str,
    source: str,
    unpacked: str,
    needs: tuple[str, ...] = (".",),
) -> Tree:
    folders = {"train": "train", "test": "val"} if name == "imagenet" else {"test": "."}
    ending, domain = _ENDINGS.get(name, "jpg"), _DRAWN.get(name, 0)
    return Tree(
        name=name,
        folder=folder,
        measures=measures,
        classes=_names(name),
        counts=counts,
        licence=licence,
        source=f"{source}, unpacked as ROOT/{folder}/{unpacked}",
        labels=FOLDERS[name],
        needs=needs,
        parts={
            split: Part(place, f"{split}_{{label:04d}}_{{number}}.{ending}", 2 if split == "train" else 1, domain)
            for split, place in folders.items()
        },
        other_folders=name == "objectnet",
        border=2 if name == "objectnet" else 0,
    )


DATA_SETS: dict[str, Tree] = {
    data_set.name: data_set
    for data_set in (
        _data_set(
            "imagenet",
            "imagenet",
            "ILSVRC-2012, 1000 classes; the official validation images are the test set here",
            {"train": 1_281_167, "test": 50_000},
            "ImageNet terms of access: research and education only",
            "image-net.org, after registering: the ILSVRC-2012 training and validation archives",
            "train/<synset>/*.JPEG and ROOT/imagenet/val/<synset>/*.JPEG",
            ("train", "val"),
        ),
        _data_set(
            "imagenet-v2",
            "imagenetv2-matched-frequency-format-val",
            "New photos for ImageNet's classes, matched-frequency selection",
            {"test": 10_000},
            "MIT for the collection; the images belong to those who took them",
            "github.com/modestyachts/ImageNetV2, imagenetv2-matched-frequency.tar.gz",
            "<0 to 999>/*.jpeg",
        ),
        _data_set(
            "imagenet-r",
            "imagenet-r",
            "Renditions (art, cartoons, toys, ...) of 200 of ImageNet's classes",
            {"test": 30_000},
            "MIT for the collection; the images belong to those who made them",
            "github.com/hendrycks/imagenet-r, imagenet-r.tar",
            "<synset>/*.jpg",
        ),
        _data_set(
            "imagenet-a",
            "imagenet-a",
            "Photos of 200 of ImageNet's classes that a ResNet-50 got wrong",
            {"test": 7_500},
            "MIT for the collection; the images belong to those who took them",
            "github.com/hendrycks/natural-adv-examples, imagenet-a.tar",
            "<synset>/*.jpg",
        ),
        _data_set(
            "imagenet-sketch",
            "sketch",
            "Black and white sketches of ImageNet's classes",
            {"test": 50_889},
            "MIT for the collection; the images belong to those who made them",
            "github.com/HaohanWang/ImageNet-Sketch, ImageNet-Sketch.zip",
            "<synset>/*.JPEG",
        ),
        _data_set(
            "objectnet",
            "objectnet-1.0/images",
            "Household things, background, rotation and viewpoint controlled; the 113 classes that ImageNet has too",
            {"test": 18_574},
            "ObjectNet's own: testing only, no training on it, the red border stays on the files",
            "objectnet.dev, objectnet-1.0.zip: 50,273 images of 313 classes, of which 18,574 are of the 113",
            "<folder>/*.png",
        ),
    )
}

#: the suites of the task, in the order of the tables
SUITES: tuple[str, ...] = tuple(name for name in DATA_SETS if name != "imagenet")

_TEMPLATES = imagenet_templates()

CARDS: dict[str, Card] = {
    "imagenet": DATA_SETS["imagenet"].card(
        measures="ImageNet classification, and its robustness on five shifts",
        version="imagenet-1",
        templates=_TEMPLATES,
        suites=SUITES,
        metric="top1",
        banks={STANDARD: _TEMPLATES, "own": _TEMPLATES},
        data_sets=("imagenet", *SUITES),
    )
}


def subset(data_set: str) -> tuple[int, ...] | None:
    """Return the ImageNet labels that a data set is scored over, ascending; None for all 1000."""
    first = tuple(sorted(labels[0] for labels in IMAGENET_LABELS[data_set]))
    return None if len(first) == len(SYNSETS) else first


def merged(data_set: str) -> tuple[tuple[int, ...], ...]:
    """Return the groups of ImageNet labels that a data set counts as one class."""
    return tuple(labels for labels in IMAGENET_LABELS[data_set] if len(labels) > 1)


class ImageNet(DataSetFamily):
    """One task with five data sets as suites."""

    def open_task(self, card: Card, options: DataOptions, holdout: str = "stable") -> Task:
        """Open training images, and the held-out share of them as validation images.

        Suites that exist and are complete are opened, so that the record says which: an incomplete ObjectNet has gone
        unnoticed in a published table.
        """
        from carft.data.task import Task

        found = self.opened("imagenet", options)
        train, val = (found.readable(part) for part in found.hold_out("train", VALIDATION))
        digests = {"imagenet": found.digests}
        for name in card.suites:
            assert options.root is not None
            if found_suite := _digests_if_whole(DATA_SETS[name], options.root, options.skip_unreadable):
                digests[name] = found_suite
        images = require_every_class(_images("imagenet", train), card)
        return Task(card.name, images, _images("imagenet", val), _combined(digests))

    def open_sealed(self, card: Card, options: DataOptions, target_split: str = "all") -> Sealed:
        """Open ILSVRC's validation images as the test set, and the suites of the card."""
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


@lru_cache(maxsize=8)
def _digests_if_whole(data_set: Tree, root: Path, skip_unreadable: bool) -> Mapping[str, str] | None:
    """Return the digests of a suite; None for one that is missing or incomplete. Looked for once per process."""
    with suppress(UserError):
        return opened(data_set, root, skip_unreadable).digests
    return None


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


_POOL = pool_of("imagenet", "imagenet", "ImageNet and its shifts", CARDS, "ood")
FAMILY: ImageNet = ImageNet("imagenet", CARDS, DATA_SETS, (_POOL,), order=3)
