"""Attestation of data sets: counts, classes, digests and readable images against the catalog. No torch."""

import hashlib
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from carft.core.errors import UserError, first_of
from carft.core.files import file_digest
from carft.data.index import Index
from carft.data.indexing import Indexed, current_index, in_threads, indexed, indexed_anew
from carft.data.sets import DataSet, is_fixture
from carft.data.shards import open_image_file

CheckStatus = Literal["attested", "unknown", "fixture", "failed"]

#: begins the sentence on images that cannot be read
UNREADABLE = "Images that cannot be read"
#: names that one message lists at most
NAMED = 5
#: images of a data set up to which all are decoded before a sweep
ALL = 20_000

#: hexadecimal digits of a digest -> its algorithm
ALGORITHMS = {32: "md5", 64: "sha256"}

MEANINGS: dict[CheckStatus, str] = {
    "attested": "Counts, classes and the digests on record agree with the real set.",
    "unknown": "Counts and classes agree with the real set; no digest of it is on record.",
    "fixture": "A fake tree in the set's layout; nothing in it is real.",
    "failed": "These are not the data that the catalog means:",
}


@dataclass(frozen=True)
class Attestation:
    """The result of comparing a data set on disk with the catalog."""

    data_set: str
    status: CheckStatus
    """``attested``: counts, classes and at least one digest agree. ``unknown``: counts and classes agree, and the
    catalog has no digest. ``fixture``: a fake tree. ``failed``: anything else."""
    counts: Mapping[str, int]
    """Split -> images found."""
    problems: tuple[str, ...]
    """Sentences."""
    digest: str
    """sha256 of :func:`carft.data.indexing.digest_of`."""
    unreadable: Mapping[str, str] = field(default_factory=dict)
    """File -> why it cannot be decoded."""

    def digests(self) -> dict[str, str]:
        """Return the entries for a record: ``attested`` (``yes``, ``no: <why>`` or ``unknown``), and the digest under
        the name of the set."""
        states = {"attested": "yes", "unknown": "unknown", "fixture": "no: fixture"}
        attested = states.get(self.status, f"no: {' '.join(self.problems)}")
        return {"attested": attested, self.data_set: self.digest}


def check(data_set: DataSet, root: Path) -> Attestation:
    """List a data set, decode every image, and attest it; its index is made anew.

    Raises ``UserError`` if the set is missing.
    """
    return attest(data_set, root, indexed_anew(data_set, root, decoded=True))


def attest(data_set: DataSet, root: Path, found: Indexed) -> Attestation:
    """Compare a data set as its index has it with the catalog. Reads the annotation files with a known digest."""
    base = root / data_set.folder
    is_fake = is_fixture(base)
    names = data_set.labels or data_set.classes
    counts = {split: len(index) for split, index in found.splits.items()}
    broken = {path.relative_to(base).as_posix(): reason for path, reason in found.unreadable.items()}
    problems = []
    for split, index in found.splits.items():
        empty = sorted(set(range(len(names))) - set(index.labels))
        if empty:
            words = first_of([names[label] for label in empty], NAMED)
            problems.append(f"Classes without an image in {split}: {words}.")
    if not is_fake:
        problems += _differences(data_set, base, counts, found.digest)
    if broken:
        problems.append(f"{UNREADABLE}: {first_of(list(broken), NAMED)}.")
    status: CheckStatus = "unknown"
    if is_fake:
        status = "fixture"
    elif data_set.digests or data_set.listing:
        status = "attested"
    if problems:
        status = "failed"
        if is_fake:
            problems.insert(0, "This is a fixture.")
    return Attestation(data_set.name, status, counts, tuple(problems), found.digest, broken)


def _differences(data_set: DataSet, base: Path, counts: Mapping[str, int], digest: str) -> list[str]:
    """Return in what a data set on disk is not the real one, as sentences."""
    found = []
    for split, expected in data_set.counts.items():
        if counts.get(split) != expected:
            found.append(f"{split} has {counts.get(split, 0):,} images, the real set {expected:,}.")
    for name, known in data_set.digests.items():
        if not (base / name).is_file() or file_digest(base / name, ALGORITHMS[len(known)]) != known:
            found.append(f"{name} is not the file of the real set: its digest differs.")
    if data_set.listing and digest != data_set.listing:
        source = data_set.listing_from
        found.append(f"Names or sizes of its images are not those on record, which are of {source}.")
    return found


def find_unreadable(data_set: DataSet, root: Path, log: Callable[[str], None]) -> Mapping[Path, str]:
    """Return path -> reason for images of a data set that cannot be decoded.

    Where the index of the set knows them, no image is decoded. Otherwise all are decoded, once, of a set of up to
    :data:`ALL` images, and none of a larger one. log: gets a sentence about it.
    """
    if data_set.packed:
        return {}
    index = current_index(data_set, root)
    if index is not None:
        return index.unreadable
    count = sum(map(len, indexed(data_set, root).splits.values()))
    if count > ALL:
        log(f"The {count:,} images of {data_set.name} are not decoded now; data check finds those that cannot be.")
        return {}
    log(f"Decoding {count:,} images of {data_set.name}, once, to find those that cannot be read ...")
    return indexed(data_set, root, decoded=True).unreadable


def held_out_copies(sets: Mapping[str, Index]) -> dict[str, list[tuple[Path, Path]]]:
    """Return, for each held-out set that has some, its images that equal an image to train on, each with that image.

    Files are compared byte for byte; one that cannot be read equals no other. sets: ``train`` and the held-out sets.
    """
    trained = dict(zip(in_threads(_file_digest, sets["train"].paths), sets["train"].paths, strict=True))
    trained.pop(None, None)
    found = defaultdict(list)
    for name, index in sets.items():
        if name == "train":
            continue
        for path, digest in zip(index.paths, in_threads(_file_digest, index.paths), strict=True):
            if digest in trained:
                found[name].append((path, trained[digest]))
    return dict(found)


def _file_digest(path: Path) -> str | None:
    try:
        with open_image_file(path) as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except (OSError, UserError):
        return None
