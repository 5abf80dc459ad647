"""The classes of ILSVRC-2012's validation images, which come in one flat folder, by the development kit's list."""

from __future__ import annotations

from pathlib import Path

from carft.core.errors import UserError
from carft.data.imagenet.family import SYNSETS

#: the list: a line for each image, in the order of their numbers, with the devkit's own number of its class
TRUTH = "ILSVRC2012_validation_ground_truth.txt"
#: what these numbers mean: synsets with their numbers, among others that are no class
META = "meta.mat"
#: name of the image of a line, from 1
IMAGE = "ILSVRC2012_val_{:08d}.JPEG"


def synsets_of_validation(devkit: Path) -> dict[str, str]:
    """Return file name -> synset of the validation images.

    devkit: the unpacked ILSVRC2012_devkit_t12. Its numbers are not the labels of this package, which are in the order
    of the synsets. Raises ``UserError`` if a file is missing or names a class that ImageNet does not have.
    """
    folder = devkit / "data" if (devkit / "data").is_dir() else devkit
    for name in (TRUTH, META):
        if not (folder / name).is_file():
            raise UserError(f"There is no '{folder / name}'.", "Name the unpacked folder ILSVRC2012_devkit_t12.")
    synsets = _synsets(folder / META)
    numbers = (folder / TRUTH).read_text(encoding="utf-8").split()
    if unknown := sorted(set(numbers) - set(synsets)):
        raise UserError(
            f"'{folder / TRUTH}' has the class '{unknown[0]}', which {META} does not have.", "Unpack again."
        )
    return {IMAGE.format(number): synsets[chosen] for number, chosen in enumerate(numbers, start=1)}


def _synsets(meta: Path) -> dict[str, str]:
    """Number, as text -> synset, of the synsets that are classes."""
    from scipy.io import loadmat

    try:
        rows = loadmat(str(meta), squeeze_me=True)["synsets"]
        found = {str(int(row["ILSVRC2012_ID"])): str(row["WNID"]) for row in rows}
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"'{meta}' cannot be read: {error}.", "Unpack the devkit again.") from error
    return {number: synset for number, synset in found.items() if synset in set(SYNSETS)}
