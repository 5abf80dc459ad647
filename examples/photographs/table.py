"""``python examples/photographs/table.py ROOT``: make the table of PACS anew from the images in ROOT/PACS.

Each image gets a group and a split. A group holds what shows one thing: for sketches the drawings of one photograph,
whose name is that of the file up to its last hyphen; elsewhere one image. Groups with near-duplicates are joined. Their
hash is made for photographs: line drawings of one shape share it without being copies, so two sketches are joined where
their hashes are equal. A hash of the group's name decides the split.
"""

import argparse
import csv
import hashlib
from collections import defaultdict
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.fft import dctn

from carft.core.files import file_digest
from carft.data.decoding import decode_pixels

TABLE = Path(__file__).with_name("table.csv")
#: folder of PACS -> domain
DOMAINS = {"art_painting": "art-painting", "cartoon": "cartoon", "photo": "photo", "sketch": "sketch"}
#: split -> share of the groups. ``more`` is for tasks with twice as many images to train on.
SHARES = {"pretrain": 0.4, "train": 0.125, "more": 0.125, "val": 0.15, "test": 0.2}
#: side of the grey image that a hash is made of, and of the block of its low frequencies
SIDE, BLOCK = 32, 8
#: bits of 63 in which the hashes of near-duplicates differ at most
DISTANCE = 4
#: hexadecimal digits of a digest in the table
DIGITS = 16


def group_of(path: str) -> str:
    """Return domain, class and source of an image. path: domain/class/file."""
    domain, label, file = path.split("/")
    stem = Path(file).stem
    return f"{DOMAINS[domain]}/{label}/{stem.rpartition('-')[0] or stem if domain == 'sketch' else stem}"


def perceptual_hash(path: Path) -> int:
    """Return 63 bits of an image: which of its low frequencies lie above their median."""
    grey = Image.fromarray(decode_pixels(path)).convert("L").resize((SIDE, SIDE), Image.Resampling.BILINEAR)
    low = dctn(np.asarray(grey, np.float64), norm="ortho")[:BLOCK, :BLOCK].ravel()[1:]  # without the mean
    bits = (low > np.median(low)).astype(int).astype(str)
    return int("".join(bits), 2)


def joined(paths: list[str], codes: np.ndarray) -> list[str]:
    """Return the group of every image, near-duplicates joined: that of the first image of the joined ones.

    paths: domain/class/file. codes: (N,) perceptual hashes.
    """
    parent = {group: group for group in map(group_of, paths)}

    def first(group: str) -> str:
        while parent[group] != group:
            group = parent[group]
        return group

    for row, path in enumerate(paths):
        domain, label, _ = path.split("/")
        distances = np.bitwise_count(codes[row + 1 :] ^ codes[row])
        for near in np.flatnonzero(distances <= DISTANCE):
            other = paths[row + 1 + near]
            both_sketches = domain == "sketch" and other.startswith("sketch/")
            same_class = other.split("/")[1] == label
            if same_class and (distances[near] == 0 or not both_sketches):
                one, two = sorted((first(group_of(path)), first(group_of(other))))
                parent[two] = one
    return [first(group_of(path)) for path in paths]


def split_of(group: str) -> str:
    """Return the split of a group, by a stable hash of its name."""
    place = int.from_bytes(hashlib.sha256(f"photographs {group}".encode()).digest()[:8], "big") / 2**64
    for split, share in SHARES.items():
        place -= share
        if place < 0:
            return split
    return split


def main() -> None:
    """Write the table and print its counts."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("root", type=Path, help="the folder that holds PACS")
    base = parser.parse_args().root / "PACS"
    files = sorted(path for domain in DOMAINS for path in (base / domain).glob("*/*") if path.is_file())
    paths = [path.relative_to(base).as_posix() for path in files]
    groups = joined(paths, np.array([perceptual_hash(path) for path in files], np.uint64))
    counts: dict[tuple[str, str], list[str]] = defaultdict(list)
    with TABLE.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(["path", "class", "domain", "group", "split", "sha256"])
        for file, path, group in zip(files, paths, groups, strict=True):
            folder, label, _ = path.split("/")
            split = split_of(group)
            counts[DOMAINS[folder], split].append(group)
            writer.writerow([f"PACS/{path}", label, DOMAINS[folder], group, split, file_digest(file)[:DIGITS]])
    for (domain, split), held in sorted(counts.items()):
        print(f"{domain:13} {split:9} {len(held):5} images {len(set(held)):5} groups")


if __name__ == "__main__":
    main()
