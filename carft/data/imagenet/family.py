"""The family of ImageNet and its shifts. No torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from carft.core.errors import UserError
from carft.data.card import STANDARD, Card
from carft.data.decoding import decode_pixels
from carft.data.facts import imagenet_templates, table
from carft.data.family import image_file, pool_of
from carft.data.loading import DataSetFamily, OpenedSet, image_set
from carft.data.sets import Index
from carft.data.trees import Part, Tree, counts_of, folder_names, image_names

if TYPE_CHECKING:
    import numpy as np

    from carft.data.task import ImageSet

_CLASSES: dict[str, str] = table("carft.data.imagenet", "classes")["classes"]
_SUBSETS: dict[str, list[str]] = table("carft.data.imagenet", "subsets")
_OBJECTNET: dict[str, list[str]] = table("carft.data.imagenet", "objectnet")["classes"]

#: synsets in label order
SYNSETS: tuple[str, ...] = tuple(_CLASSES)

#: the unpacked development kit, in the folder of ImageNet
DEVKIT = "ILSVRC2012_devkit_t12"
#: its list of validation images: a line for each, in the order of their numbers, with the kit's own number of its class
TRUTH = f"{DEVKIT}/data/ILSVRC2012_validation_ground_truth.txt"
#: what these numbers mean: synsets with their numbers, among others that are no class
META = f"{DEVKIT}/data/meta.mat"
#: name of the image of a line, from 1
FLAT = "ILSVRC2012_val_{:08d}.JPEG"


@dataclass(frozen=True, eq=False)
class ImageNetSet(Tree):
    """A data set whose classes are ImageNet's; in ObjectNet a class can stand for several."""

    synsets: Sequence[Sequence[str]] = ()
    """The synsets of each class, in the order of its labels."""

    @property
    def imagenet_labels(self) -> list[tuple[int, ...]]:
        """The ImageNet labels of each class, in the order of its labels."""
        labels = {synset: label for label, synset in enumerate(SYNSETS)}
        return [tuple(labels[synset] for synset in synsets) for synsets in self.synsets]

    @property
    def subset(self) -> tuple[int, ...] | None:
        """The ImageNet labels that the set is scored over, ascending; None for all 1000."""
        first = tuple(sorted(labels[0] for labels in self.imagenet_labels))
        return None if len(first) == len(SYNSETS) else first

    @property
    def merged(self) -> tuple[tuple[int, ...], ...]:
        """Groups of ImageNet labels that the set counts as one class."""
        return tuple(labels for labels in self.imagenet_labels if len(labels) > 1)


class ImageNetTrain(ImageNetSet):
    """ILSVRC-2012. Its validation images lie in class folders, or in one folder as in the official archive.

    Those of one folder get their classes from the development kit beside it.
    """

    def images_in(self, root: Path, folder: Path) -> Index:
        is_validation = folder == root / self.folder / self.parts["test"].folder
        files = image_names(folder) if is_validation and folder.is_dir() and not folder_names(folder) else []
        if not files:
            return super().images_in(root, folder)
        synsets = self._synsets_of_files(root)
        if strange := [file for file in files if file not in synsets]:
            raise UserError(
                f"'{folder}' holds the image '{strange[0]}', which the list of the development kit does not name.",
                "Move it away, or sort the images into folders of their synsets.",
            )
        rows = sorted((self.labels.index(synsets[file]), file) for file in files)
        return Index(
            paths=tuple(folder / file for _, file in rows),
            labels=tuple(label for label, _ in rows),
            groups=tuple(f"{synsets[file]}/{file}" for _, file in rows),
        )

    def _synsets_of_files(self, root: Path) -> dict[str, str]:
        """Return file name -> synset of the validation images.

        The kit's numbers are not labels, which are in the order of the synsets. Raises ``UserError`` if a file of the
        kit is missing, cannot be read or names a class that ImageNet does not have.
        """
        from scipy.io import loadmat

        truth, meta = root / self.folder / TRUTH, root / self.folder / META
        if not (truth.is_file() and meta.is_file()):
            raise UserError(
                f"The validation images in '{root / self.folder / 'val'}' lie in no folders of their classes, and "
                f"there is no '{truth if meta.is_file() else meta}'.",
                f"Unpack {DEVKIT} from image-net.org into '{root / self.folder}'.",
            )
        try:
            rows = loadmat(str(meta), squeeze_me=True)["synsets"]
            named = {int(row["ILSVRC2012_ID"]): str(row["WNID"]) for row in rows if str(row["WNID"]) in _CLASSES}
            numbers = map(int, truth.read_text(encoding="utf-8").split())
            return {FLAT.format(line): named[number] for line, number in enumerate(numbers, start=1)}
        except Exception as error:  # scipy raises many kinds for a corrupt file
            raise UserError(
                f"'{truth.parent}' is not the data of the development kit: {error}.", "Unpack it again."
            ) from error


def _suite(
    name: str,
    folder: str,
    measures: str,
    count: int,
    licence: str,
    source: str,
    path: str,
    synsets: Mapping[str, Sequence[str]],
) -> ImageNetSet:
    """Return a suite. path: of an image in the folder. synsets: class folder -> its synsets."""
    words = [key.replace("_", " ") if name == "objectnet" else _CLASSES[one[0]] for key, one in synsets.items()]
    return ImageNetSet(
        name=name,
        folder=folder,
        measures=measures,
        classes=tuple(words),
        counts={"test": count},
        licence=licence,
        source=f"{source}, unpacked as ROOT/{folder}/{path}",
        labels=tuple(synsets),
        needs=(".",),
        parts={"test": Part(".", count, ending=path.rpartition(".")[2], drawn=1)},
        other_folders=name == "objectnet",
        border=2 if name == "objectnet" else 0,
        synsets=tuple(synsets.values()),
    )


_PARTS = {
    "train": Part("train", 1_281_167, ending="JPEG"),
    "test": Part("val", 50_000, ending="JPEG", drawn=1),
}
IMAGENET = ImageNetTrain(
    name="imagenet",
    folder="imagenet",
    measures="ILSVRC-2012, 1000 classes; the official validation images are the test set here",
    classes=tuple(_CLASSES.values()),
    counts=counts_of(_PARTS),
    licence="ImageNet terms of access: research and education only",
    source="image-net.org, after registering: the ILSVRC-2012 training and validation archives, unpacked as "
    f"ROOT/imagenet/train/<synset>/*.JPEG and ROOT/imagenet/val/<synset>/*.JPEG, or val/*.JPEG with {DEVKIT}",
    labels=SYNSETS,
    needs=("train", "val"),
    table=TRUTH,
    parts=_PARTS,
    synsets=tuple((synset,) for synset in SYNSETS),
)

DATA_SETS: dict[str, ImageNetSet] = {
    data_set.name: data_set
    for data_set in (
        IMAGENET,
        _suite(
            "imagenet-v2",
            "imagenetv2-matched-frequency-format-val",
            "New photos for ImageNet's classes, matched-frequency selection",
            10_000,
            "MIT for the collection; the images belong to those who took them",
            "github.com/modestyachts/ImageNetV2, imagenetv2-matched-frequency.tar.gz",
            "<0 to 999>/*.jpeg",
            {str(label): [synset] for label, synset in enumerate(SYNSETS)},
        ),
        _suite(
            "imagenet-r",
            "imagenet-r",
            "Renditions (art, cartoons, toys, ...) of 200 of ImageNet's classes",
            30_000,
            "MIT for the collection; the images belong to those who made them",
            "github.com/hendrycks/imagenet-r, imagenet-r.tar",
            "<synset>/*.jpg",
            {synset: [synset] for synset in _SUBSETS["imagenet-r"]},
        ),
        _suite(
            "imagenet-a",
            "imagenet-a",
            "Photos of 200 of ImageNet's classes that a ResNet-50 got wrong",
            7_500,
            "MIT for the collection; the images belong to those who took them",
            "github.com/hendrycks/natural-adv-examples, imagenet-a.tar",
            "<synset>/*.jpg",
            {synset: [synset] for synset in _SUBSETS["imagenet-a"]},
        ),
        _suite(
            "imagenet-sketch",
            "sketch",
            "Black and white sketches of ImageNet's classes",
            50_889,
            "MIT for the collection; the images belong to those who made them",
            "github.com/HaohanWang/ImageNet-Sketch, ImageNet-Sketch.zip",
            "<synset>/*.JPEG",
            {synset: [synset] for synset in SYNSETS},
        ),
        _suite(
            "objectnet",
            "objectnet-1.0/images",
            "Household things, background, rotation and viewpoint controlled; the 113 classes that ImageNet has too",
            18_574,
            "ObjectNet's own: testing only, no training on it, the red border stays on the files",
            "objectnet.dev, objectnet-1.0.zip: 50,273 images of 313 classes, of which 18,574 are of the 113",
            "<folder>/*.png",
            _OBJECTNET,
        ),
    )
}

#: the suites of the task, in the order of the tables
SUITES: tuple[str, ...] = tuple(name for name in DATA_SETS if name != "imagenet")

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


class ImageNet(DataSetFamily):
    """One task with five data sets as suites; ILSVRC's validation images are its test set."""

    #: about 26 images of a class: validation only selects hyperparameters, and 10 % would take 128,000 from training
    validation: ClassVar[float] = 0.02

    def images(self, found: OpenedSet, split: str, index: Index) -> ImageSet:
        chosen = DATA_SETS[found.data_set.name]
        first = [labels[0] for labels in chosen.imagenet_labels]
        index = replace(index, labels=tuple(first[label] for label in index.labels))
        images = image_set(index, index.groups, border=chosen.border)
        return replace(images, subset=chosen.subset, merged=chosen.merged)

    def picture(self, card: Card, held_out: str, name: str, root: Path | None = None) -> np.ndarray:
        data_set = IMAGENET if held_out == "test" else DATA_SETS[held_out.removeprefix("ood/")]
        folder = f"{data_set.folder}/{data_set.parts['test'].folder}"
        if data_set is IMAGENET and root is not None and not (root / folder / name).is_file():
            name = Path(name).name  # it lies in no folder of its class
        return decode_pixels(image_file(card, root, folder, name), data_set.border)


_POOL = pool_of("imagenet", "imagenet", "ImageNet and its shifts", CARDS, "ood")
FAMILY: ImageNet = ImageNet("imagenet", CARDS, DATA_SETS, (_POOL,), order=3)
