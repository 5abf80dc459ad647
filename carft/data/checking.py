"""Attestation of data sets: counts, classes, digests and readable images against the catalog."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from carft.core.errors import first_of
from carft.core.files import file_digest
from carft.data.fixtures import is_fixture
from carft.data.indexing import Indexed, indexed
from carft.data.listing import Splits
from carft.data.sets import DataSet

Status = Literal["attested", "unknown", "fixture", "failed"]

#: begins the sentence on images that were left out, in the attestation of a record
UNREADABLE = "Images that cannot be read"
#: names that one message lists at most
NAMED = 5

#: hexadecimal digits of a digest -> its algorithm
ALGORITHMS = {32: "md5", 64: "sha256"}

MEANINGS: dict[Status, str] = {
    "attested": "Counts, classes and the digests on record agree with the real set.",
    "unknown": "Counts and classes agree with the real set; no digest of it is on record.",
    "fixture": "A fake tree in the set's layout; nothing in it is real.",
    "failed": "These are not the data that the catalog means:",
}


@dataclass(frozen=True)
class Attestation:
    """The result of comparing a data set on disk with the catalog."""

    data_set: str
    status: Status
    """``attested``: counts, classes and at least one digest agree. ``unknown``: counts and classes agree, and the
    catalog has no digest. ``fixture``: a fake tree. ``failed``: anything else."""
    counts: Mapping[str, int]
    """Split -> images found."""
    problems: tuple[str, ...]
    """Sentences."""
    digest: str
    """sha256 of :func:`carft.data.listing.digest_of`."""
    unreadable: Mapping[str, str] = field(default_factory=dict)
    """File -> why it cannot be decoded."""

    def digests(self) -> dict[str, str]:
        """Return the entries for a record: ``attested`` (``yes``, ``no: <why>`` or ``unknown``), the digest under the
        name of the set, and the images that are left out, if any."""
        states = {"attested": "yes", "unknown": "unknown", "fixture": "no: fixture"}
        attested = states.get(self.status, f"no: {' '.join(self.problems)}")
        return {"attested": attested, self.data_set: self.digest, **left_out(self.unreadable)}


def left_out(unreadable: Iterable[str]) -> dict[str, str]:
    """Return the record's entry for images that are left out: their number and names. Empty without any."""
    names = sorted(unreadable)
    return {"left out": f"{len(names)}: {', '.join(names)}"} if names else {}


def check(data_set: DataSet, root: Path) -> Attestation:
    """List a data set, decode every image, and attest it; its index is made anew.

    Raises ``UserError`` if the set is missing.
    """
    return attest(data_set, root, indexed(data_set, root, decoded=True, anew=True))


def attest(data_set: DataSet, root: Path, found: Indexed) -> Attestation:
    """Compare a data set as its index has it with the catalog. Reads the annotation files with a known digest."""
    base, splits = root / data_set.folder, found.splits
    unreadable = {path.relative_to(base).as_posix(): reason for path, reason in found.unreadable.items()}
    fake = is_fixture(base)
    problems = [
        *_class_problems(data_set, root, splits),
        *([] if fake else _count_problems(data_set, splits)),
        *([] if fake else _digest_problems(data_set, base)),
        *([f"Images that are listed more than once: {first_of(found.shared, NAMED)}."] if found.shared else []),
        *([f"{UNREADABLE}: {first_of(list(unreadable), NAMED)}."] if unreadable else []),
    ]
    status: Status = "attested" if data_set.digests else "unknown"
    if problems:
        status, problems = "failed", [*(["This is a fixture."] if fake else []), *problems]
    elif fake:
        status = "fixture"
    counts = {split: len(index) for split, index in splits.items()}
    return Attestation(data_set.name, status, counts, tuple(problems), found.digest, unreadable)


def _count_problems(data_set: DataSet, splits: Splits) -> list[str]:
    return [
        f"{split} has {len(splits[split]) if split in splits else 0:,} images, the real set {expected:,}."
        for split, expected in data_set.counts.items()
        if split not in splits or len(splits[split]) != expected
    ]


def _class_problems(data_set: DataSet, root: Path, splits: Splits) -> list[str]:
    expected, problems = list(data_set.labels or data_set.classes), []
    found = data_set.found_classes(root)
    if found is not None:
        if len(found) != len(expected):
            problems.append(f"There are {len(found)} classes, the real set has {len(expected)}.")
        same = Counter(_plain(name) for name in found)
        twins = [name for name in found if same[_plain(name)] > 1]
        if twins:
            problems.append(f"Classes that are there twice: {first_of(twins, NAMED)}.")
        for what, names in (("missing", set(expected) - set(found)), ("unknown", set(found) - set(expected))):
            if names:
                problems.append(f"Classes that are {what}: {first_of(sorted(names), NAMED)}.")
    return problems + [
        f"Classes without an image in {split}: {first_of([expected[label] for label in empty], NAMED)}."
        for split, index in splits.items()
        if (empty := sorted(set(range(len(expected))) - set(index.labels)))
    ]


def _digest_problems(data_set: DataSet, base: Path) -> list[str]:
    return [
        f"{name} is not the file of the real set: its digest differs."
        for name, expected in data_set.digests.items()
        if not (base / name).is_file() or file_digest(base / name, ALGORITHMS[len(expected)]) != expected
    ]


def _plain(name: str) -> str:
    return name.casefold().replace(" ", "_").replace("-", "_")
