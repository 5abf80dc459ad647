"""The family of ImageNet and its shifts. No torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from carft.data.card import STANDARD, Card
from carft.data.facts import facts, imagenet_templates
from carft.data.family import DataSetFamily, pool_of
from carft.data.index import Index
from carft.data.trees import Tree, TreePart, laid_out

if TYPE_CHECKING:
    from carft.data.task import ImageSet

_CLASSES: dict[str, str] = facts("classes", "carft.data.imagenet")["classes"]
_SUBSETS: dict[str, list[str]] = facts("subsets", "carft.data.imagenet")
_OBJECTNET: dict[str, list[str]] = facts("objectnet", "carft.data.imagenet")["classes"]

#: synsets in label order
SYNSETS: tuple[str, ...] = tuple(_CLASSES)


@dataclass(frozen=True, eq=False)
class ImageNetSet(Tree):
    """A data set whose classes are ImageNet's; in ObjectNet a class can stand for several."""

    synsets: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Class folder -> its synsets, where the folder is not called as its synset."""

    @property
    def imagenet_labels(self) -> list[tuple[int, ...]]:
        """The ImageNet labels of each class, in the order of its labels."""
        number = {synset: label for label, synset in enumerate(SYNSETS)}
        labels = []
        for name in self.labels:
            synsets = self.synsets.get(name, [name])
            labels.append(tuple(number[synset] for synset in synsets))
        return labels

    @property
    def subset(self) -> tuple[int, ...] | None:
        """The ImageNet labels that the set is scored over, ascending; None for all 1000."""
        first = sorted(labels[0] for labels in self.imagenet_labels)
        if len(first) == len(SYNSETS):
            return None
        return tuple(first)

    @property
    def merged(self) -> tuple[tuple[int, ...], ...]:
        """Groups of ImageNet labels that the set counts as one class."""
        return tuple(labels for labels in self.imagenet_labels if len(labels) > 1)

    def images(self, parts: Mapping[str, Index]) -> ImageSet:
        first = [labels[0] for labels in self.imagenet_labels]
        of_task = {}
        for split, part in parts.items():
            labels = tuple(first[label] for label in part.labels)
            of_task[split] = replace(part, labels=labels)
        return replace(super().images(of_task), subset=self.subset, merged=self.merged)


def _words_of(subset: str) -> dict[str, str]:
    """Return synset -> words, of the classes of a suite."""
    return {synset: _CLASSES[synset] for synset in _SUBSETS[subset]}


IMAGENET: ImageNetSet = ImageNetSet(
    name="imagenet",
    folder="imagenet",
    measures="ILSVRC-2012, 1000 classes; the official validation images are the test set here",
    licence="ImageNet terms of access: research and education only",
    source="image-net.org, after registering: the ILSVRC-2012 training and validation archives, unpacked as "
    "ROOT/imagenet/train/<synset>/*.JPEG and ROOT/imagenet/val/<synset>/*.JPEG; with the archives and that of the "
    "development kit in ROOT/imagenet, torchvision.datasets.ImageNet('ROOT/imagenet', 'val') makes the second",
    validation=0.02,  # about 26 images of a class: it only selects hyperparameters, and 10 % would take 128,000
    **laid_out({"train": TreePart("train", 1_281_167), "test": TreePart("val", 50_000)}, _CLASSES),
)

DATA_SETS: dict[str, ImageNetSet] = {
    data_set.name: data_set
    for data_set in (
        IMAGENET,
        ImageNetSet(
            name="imagenet-v2",
            folder="imagenetv2-matched-frequency-format-val",
            measures="New photos for ImageNet's classes, matched-frequency selection",
            licence="MIT for the collection; the images belong to those who took them",
            source="github.com/modestyachts/ImageNetV2, imagenetv2-matched-frequency.tar.gz, unpacked as "
            "ROOT/imagenetv2-matched-frequency-format-val/<label>",
            synsets={str(label): [synset] for label, synset in enumerate(SYNSETS)},
            **laid_out(
                {"test": TreePart(".", 10_000)}, {str(label): word for label, word in enumerate(_CLASSES.values())}
            ),
        ),
        ImageNetSet(
            name="imagenet-r",
            folder="imagenet-r",
            measures="Renditions (art, cartoons, toys, ...) of 200 of ImageNet's classes",
            licence="MIT for the collection; the images belong to those who made them",
            source="github.com/hendrycks/imagenet-r, imagenet-r.tar, unpacked as ROOT/imagenet-r/<synset>",
            **laid_out({"test": TreePart(".", 30_000)}, _words_of("imagenet-r")),
        ),
        ImageNetSet(
            name="imagenet-a",
            folder="imagenet-a",
            measures="Photos of 200 of ImageNet's classes that a ResNet-50 got wrong",
            licence="MIT for the collection; the images belong to those who took them",
            source="github.com/hendrycks/natural-adv-examples, imagenet-a.tar, unpacked as ROOT/imagenet-a/<synset>",
            **laid_out({"test": TreePart(".", 7_500)}, _words_of("imagenet-a")),
        ),
        ImageNetSet(
            name="imagenet-sketch",
            folder="sketch",
            measures="Black and white sketches of ImageNet's classes",
            licence="MIT for the collection; the images belong to those who made them",
            source="github.com/HaohanWang/ImageNet-Sketch, ImageNet-Sketch.zip, unpacked as ROOT/sketch/<synset>",
            **laid_out({"test": TreePart(".", 50_889)}, _CLASSES),
        ),
        ImageNetSet(
            name="objectnet",
            folder="objectnet-1.0/images",
            measures="Household things, background, rotation and viewpoint controlled; 113 classes of ImageNet",
            licence="ObjectNet's own: testing only, no training on it, the red border stays on the files",
            source="objectnet.dev, objectnet-1.0.zip: 50,273 images of 313 classes, of which 18,574 are of the 113, "
            "unpacked as ROOT/objectnet-1.0/images/<folder>",
            synsets=_OBJECTNET,
            other_folders=True,
            border=2,
            **laid_out({"test": TreePart(".", 18_574)}, {folder: folder.replace("_", " ") for folder in _OBJECTNET}),
        ),
    )
}

#: the suites of the task, in the order of the tables
SUITES: tuple[str, ...] = tuple(DATA_SETS)[1:]

_TEMPLATES = imagenet_templates()

CARDS: dict[str, Card] = {
    "imagenet": IMAGENET.card(
        measures="ImageNet classification, and its robustness on five shifts",
        version="imagenet-1",
        templates=_TEMPLATES,
        suites=SUITES,
        metric="top1",
        banks={STANDARD: _TEMPLATES, "own": _TEMPLATES},
        data_sets=("imagenet", *SUITES),
    )
}

_POOL = pool_of("imagenet", "imagenet", "ImageNet and its shifts", CARDS, "ood")
FAMILY = DataSetFamily("imagenet", CARDS, DATA_SETS, (_POOL,), order=3)
