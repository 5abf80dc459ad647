"""Near-duplicates across the splits of your own data, and the same image in two classes. No torch."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.fft import dctn

from carft.core.errors import UnreadableImage
from carft.data.decoding import decode_pixels, decoders
from carft.data.folder.images import ImageTable
from carft.data.sets import Index

#: side of the grey image that the hash is made of, and of the block of its low frequencies
SIDE, BLOCK = 32, 8
#: bits of 63 in which the hashes of near-duplicates differ at most
DISTANCE = 4
#: pairs that are compared at a time; a pair takes nine bytes
PAIRS = 2**24


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
        effect = "intervals count as independent what is not"
        if self.same_class:
            points = 100 * self.same_class / self.images
            effect = f"accuracy on {self.split} may be too high by up to {points:.1f} points, and {effect}"
        if self.split == "val":
            effect += "; selection favours what remembers"
        other = len(self.pairs) - self.same_class
        labels = f" {other} of them have another class: look at their labels." if other else ""
        return (
            f"{len(self.pairs)} of {self.images} images of {self.split} look like an image to train on of another "
            f"group: {effect}.{labels} Give pictures of one thing one group."
        )


def near_duplicates(table: ImageTable, sets: Mapping[str, Index], hashes: Mapping[Path, int]) -> list[NearDuplicates]:
    """Return the near-duplicates of images to train on, of each held-out set that has some.

    sets: the images that a task uses, of :meth:`carft.data.folder.images.ImageTable.sets`. hashes: of
    :func:`hash_images`; images without a hash are left out.
    """
    held_out = (name for name in sets if name != "train")
    found = (_compare(name, sets[name], sets["train"], hashes, table.base) for name in held_out)
    return [duplicates for duplicates in found if duplicates.pairs]


def label_conflicts(table: ImageTable, hashes: Mapping[Path, int]) -> list[tuple[str, ...]]:
    """Return the images that have the same pixels and stand in several classes, as paths from the folder.

    Images of all domains and splits are compared, whatever their groups. hashes: of :func:`hash_images`.
    """
    alike: dict[int, dict[Path, int]] = defaultdict(dict)
    for index in table.images.values():
        for path, label in zip(index.paths, index.labels, strict=True):
            if path in hashes:
                alike[hashes[path]][path] = label
    candidates = [label_of for label_of in alike.values() if len(set(label_of.values())) > 1]
    same: dict[str, list[tuple[str, int]]] = defaultdict(list)
    for label_of in candidates:
        for path, label in label_of.items():
            pixels = decode_pixels(path)
            digest = hashlib.sha256(repr(pixels.shape).encode() + pixels.tobytes()).hexdigest()
            same[digest].append((path.relative_to(table.base).as_posix(), label))
    conflicts = (images for images in same.values() if len({label for _, label in images}) > 1)
    return sorted(tuple(sorted(name for name, _ in images)) for images in conflicts)


def hash_images(paths: Sequence[Path]) -> dict[Path, int]:
    """Return path -> :func:`perceptual_hash`, without the images that cannot be decoded."""
    with ThreadPoolExecutor(decoders()) as pool:
        found = zip(paths, pool.map(perceptual_hash, paths), strict=True)
        return {path: value for path, value in found if value is not None}


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
    return int("".join("1" if bit else "0" for bit in low > np.median(low)), 2)


def _compare(name: str, held: Index, train: Index, hashes: Mapping[Path, int], base: Path) -> NearDuplicates:
    """Compare all pairs, a block at a time. No group is on both sides, since a group belongs to one split."""
    sides = [[i for i, path in enumerate(index.paths) if path in hashes] for index in (held, train)]
    codes = [
        np.array([hashes[index.paths[i]] for i in rows], np.uint64)
        for index, rows in zip((held, train), sides, strict=True)
    ]
    pairs, same = [], 0
    step = max(1, PAIRS // max(1, len(codes[1])))
    for first in range(0, len(codes[0]) if len(codes[1]) else 0, step):
        distance = np.bitwise_count(codes[0][first : first + step, None] ^ codes[1][None, :])
        for row in np.flatnonzero((distance <= DISTANCE).any(1)):
            i, j = sides[0][first + row], sides[1][int(distance[row].argmin())]
            pairs.append((held.paths[i].relative_to(base).as_posix(), train.paths[j].relative_to(base).as_posix()))
            same += held.labels[i] == train.labels[j]
    return NearDuplicates(name, len(held), tuple(pairs), same)
