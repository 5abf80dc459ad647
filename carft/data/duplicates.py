"""Near-duplicates across the splits of your own data, by a perceptual hash. No torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.fft import dctn

from carft.data.decoding import decoders
from carft.data.folder.tree import Tree
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
    """``val`` or ``test``."""
    images: int
    """Images of the split."""
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


def near_duplicates(tree: Tree, domains: Sequence[str]) -> list[NearDuplicates]:
    """Return the near-duplicates of validation and test, of each split that has some.

    domains: those to train on. Validation and test are looked for in all domains. Images that cannot be decoded are
    left out.
    """
    train = _joined([tree.part(domain, "train") for domain in domains])
    wanted = {split: _joined([tree.part(domain, split) for domain in tree.domains]) for split in ("val", "test")}
    hashes = _hashes([path for index in (train, *wanted.values()) for path in index.paths])
    found = [_found(split, index, train, hashes, tree.base) for split, index in wanted.items()]
    return [one for one in found if one.pairs]


def _joined(parts: Sequence[Index]) -> Index:
    return Index(*(tuple(x for part in parts for x in getattr(part, f)) for f in ("paths", "labels", "groups")))


def _hashes(paths: Sequence[Path]) -> dict[Path, int]:
    with ThreadPoolExecutor(decoders()) as pool:
        found = zip(paths, pool.map(perceptual_hash, paths), strict=True)
        return {path: value for path, value in found if value is not None}


def perceptual_hash(path: Path) -> int | None:
    """Return 63 bits of an image: which of its low frequencies lie above their median. None if it cannot be decoded.

    Resizing, compression and small changes of colour move few bits. Transparent images stand on white.
    """
    try:
        with Image.open(path) as image:
            rgba = image.convert("RGBA")
            white = Image.new("RGBA", rgba.size, "white")
            grey = Image.alpha_composite(white, rgba).convert("L").resize((SIDE, SIDE), Image.Resampling.BILINEAR)
    except (OSError, ValueError, Image.DecompressionBombError):
        return None
    low = dctn(np.asarray(grey, np.float64), norm="ortho")[:BLOCK, :BLOCK].ravel()[1:]  # without the mean
    return int("".join("1" if bit else "0" for bit in low > np.median(low)), 2)


def _found(split: str, held: Index, train: Index, hashes: Mapping[Path, int], base: Path) -> NearDuplicates:
    """Compare all pairs, a block at a time."""
    sides = [[i for i, path in enumerate(index.paths) if path in hashes] for index in (held, train)]
    codes = [
        np.array([hashes[index.paths[i]] for i in rows], np.uint64)
        for index, rows in zip((held, train), sides, strict=True)
    ]
    pairs, same = [], 0
    groups = np.array([train.groups[i] for i in sides[1]])
    step = max(1, PAIRS // max(1, len(codes[1])))
    for first in range(0, len(codes[0]) if len(codes[1]) else 0, step):
        distance = np.bitwise_count(codes[0][first : first + step, None] ^ codes[1][None, :])
        for row in np.flatnonzero((distance <= DISTANCE).any(1)):
            i = sides[0][first + row]
            near = np.where(groups == held.groups[i], 64, distance[row])
            if near.min() <= DISTANCE:
                j = sides[1][int(near.argmin())]
                names = (held.paths[i], train.paths[j])
                pairs.append((names[0].relative_to(base).as_posix(), names[1].relative_to(base).as_posix()))
                same += held.labels[i] == train.labels[j]
    return NearDuplicates(split, len(held), tuple(pairs), same)
