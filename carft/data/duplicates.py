"""Near-duplicates across the splits of your own data, and the same image in two classes. No torch."""

import hashlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.fft import dctn

from carft.core.errors import UnreadableImage
from carft.data.decoding import decode_pixels
from carft.data.folder.images import ImageTable
from carft.data.index import Index
from carft.data.indexing import in_threads

#: side of the grey image that the hash is made of, and of the block of its low frequencies
SIDE, BLOCK = 32, 8
#: bits of 63 in which the hashes of near-duplicates differ at most
DISTANCE = 4


@dataclass(frozen=True)
class NearDuplicates:
    """Held-out images that look like an image to train on of another group."""

    split: str
    """``val``, ``test`` or ``ood/<domain>``."""
    images: int
    """Images of the set that a sweep uses."""
    pairs: tuple[tuple[str, str], ...]
    """(image of the split, the nearest image to train on), paths from the folder; one pair for each image."""
    same_class: int
    """Pairs whose images have one class."""

    @property
    def words(self) -> str:
        """What they would do to the numbers."""
        other = len(self.pairs) - self.same_class
        labels = f" {other} of them have another class: look at their labels." if other else ""
        effect = "intervals may be too narrow"
        if self.same_class:
            points = 100 * self.same_class / self.images
            effect = f"accuracy on {self.split} may be too high by up to {points:.1f} points, and {effect}"
        return (
            f"{len(self.pairs)} of {self.images} images of {self.split} look like an image to train on of another "
            f"group: {effect}.{labels} Give pictures of one thing one group."
        )


def near_duplicates(table: ImageTable, sets: Mapping[str, Index], hashes: Mapping[Path, int]) -> list[NearDuplicates]:
    """Return the near-duplicates of images to train on, of each held-out set that has some.

    All pairs are compared; no group is on both sides, since a group belongs to one split.

    sets: the images that a task uses, of :meth:`carft.data.folder.images.ImageTable.sets`. hashes: of
    :func:`hash_images`; images without a hash are left out.
    """
    hashed, codes = {}, {}
    for name, index in sets.items():
        rows, of_rows = [], []
        for row, path in enumerate(index.paths):
            if path in hashes:
                rows.append(row)
                of_rows.append(hashes[path])
        hashed[name] = index.rows(rows)
        codes[name] = np.array(of_rows, np.uint64)
    train = hashed.pop("train")
    found = []
    for name, held in hashed.items():
        pairs = []
        same = 0
        for image, label, code in zip(held.paths, held.labels, codes[name], strict=True):
            distance = np.bitwise_count(codes["train"] ^ code)
            if not (distance <= DISTANCE).any():
                continue
            nearest = int(distance.argmin())
            pairs.append((table.name_of(image), table.name_of(train.paths[nearest])))
            same += label == train.labels[nearest]
        if pairs:
            found.append(NearDuplicates(name, len(sets[name]), tuple(pairs), same))
    return found


def label_conflicts(table: ImageTable, hashes: Mapping[Path, int]) -> list[tuple[str, ...]]:
    """Return the images that have the same pixels and stand in several classes, as paths from the folder.

    Images of all domains and splits are compared, whatever their groups. hashes: of :func:`hash_images`.
    """
    label_of: dict[Path, int] = {}
    for index in table.images.values():
        label_of.update(zip(index.paths, index.labels, strict=True))

    def are_of_several_classes(paths: Sequence[Path]) -> bool:
        return len({label_of[path] for path in paths}) > 1

    by_hash: dict[int, list[Path]] = defaultdict(list)
    for path in label_of:
        if path in hashes:
            by_hash[hashes[path]].append(path)
    by_pixels: dict[tuple[tuple[int, ...], str], list[Path]] = defaultdict(list)
    for paths in by_hash.values():
        if are_of_several_classes(paths):
            for path in paths:
                pixels = decode_pixels(path)
                by_pixels[pixels.shape, hashlib.sha256(pixels.tobytes()).hexdigest()].append(path)
    conflicts = []
    for paths in by_pixels.values():
        if are_of_several_classes(paths):
            names = sorted(table.name_of(path) for path in paths)
            conflicts.append(tuple(names))
    return sorted(conflicts)


def hash_images(paths: Sequence[Path]) -> dict[Path, int]:
    """Return path -> :func:`perceptual_hash`, without the images that cannot be decoded."""
    found = {}
    for path, value in zip(paths, in_threads(perceptual_hash, paths), strict=True):
        if value is not None:
            found[path] = value
    return found


def perceptual_hash(path: Path) -> int | None:
    """Return 63 bits of an image: which of its low frequencies lie above their median. None if it cannot be decoded.

    Resizing, compression and small changes of colour move few bits. Transparent images stand on white.
    """
    try:
        image = Image.fromarray(decode_pixels(path))
    except UnreadableImage:
        return None
    grey = image.convert("L").resize((SIDE, SIDE), Image.Resampling.BILINEAR)
    low = dctn(np.asarray(grey, np.float64), norm="ortho")[:BLOCK, :BLOCK].ravel()[1:]  # without the mean
    bits = (low > np.median(low)).astype(int).astype(str)
    return int("".join(bits), 2)
