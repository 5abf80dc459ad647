"""The family of ImageNet and its shifts. No torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from carft.data.card import STANDARD, Card
from carft.data.facts import facts, imagenet_templates
from carft.data.family import DataSetFamily, pool_of
from carft.data.index import Index
from carft.data.trees import Tree, laid_out

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


#: data set -> class folder -> words, of those whose folders are not ImageNet's 1000 synsets
_FOLDERS: dict[str, Mapping[str, str]] = {
    "imagenet-v2": {str(label): words for label, words in enumerate(_CLASSES.values())},
    "imagenet-r": _words_of("imagenet-r"),
    "imagenet-a": _words_of("imagenet-a"),
    "objectnet": {folder: folder.replace("_", " ") for folder in _OBJECTNET},
}
#: data set -> class folder -> synsets, of those whose folders are not called as synsets
_SYNSETS: dict[str, Mapping[str, Sequence[str]]] = {
    "imagenet-v2": {str(label): [synset] for label, synset in enumerate(SYNSETS)},
    "objectnet": _OBJECTNET,
}

DATA_SETS: dict[str, ImageNetSet] = {}
for _name, _facts in facts("sets", "carft.data.imagenet").items():
    _layout = laid_out(_facts, _FOLDERS.get(_name, _CLASSES))
    DATA_SETS[_name] = ImageNetSet(name=_name, synsets=_SYNSETS.get(_name, {}), **_layout)

#: the suites of the task, in the order of the tables
SUITES: tuple[str, ...] = tuple(DATA_SETS)[1:]

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

_POOL = pool_of("imagenet", "imagenet", "ImageNet and its shifts", CARDS, "ood")
FAMILY = DataSetFamily("imagenet", CARDS, DATA_SETS, (_POOL,), order=3)
