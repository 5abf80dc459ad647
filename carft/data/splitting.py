"""Validation sets held out of training images by a stable hash, stored and checked. No torch."""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from contextlib import suppress
from pathlib import Path

from carft.core.errors import UserError
from carft.core.files import write_atomic
from carft.data.sets import Index

#: lists the held-out training images, in the folder of the data set
RECORD = "carft-validation.json"
#: default share of the groups of each class
SHARE = 0.1
RULE = "of each class, the share of groups with the lowest sha256 of their name"


def hold_out(index: Index, folder: Path, share: float = SHARE) -> tuple[Index, Index]:
    """Return (train, val). ``val`` gets the ``share`` of groups of each class with the lowest sha256 of their name.

    At least one group of a class is held out. All images of a group are on one side, across classes too. The choice
    depends on names only. It is stored as ``carft-validation.json`` in ``folder`` if that can be written. Raises
    ``UserError`` if the stored choice differs, or if a class has no image left for training.
    """
    held_out = _held_out(index, share)
    rows = [i for i, group in enumerate(index.groups) if group in held_out]
    rest = [i for i, group in enumerate(index.groups) if group not in held_out]
    train, val = index.rows(rest), index.rows(rows)
    emptied = sorted(set(val.labels) - set(train.labels))
    if emptied:
        raise UserError(
            f"No validation set can be held out of the training images in '{folder}': label {emptied[0]} would be "
            "left without an image to train on.",
            "Every class needs at least two training images that are not of one group.",
        )
    _record(index, val, folder, share)
    return train, val


def _held_out(index: Index, share: float) -> set[str]:
    classes: dict[int, set[str]] = defaultdict(set)
    for label, group in zip(index.labels, index.groups, strict=True):
        classes[label].add(group)
    held_out: set[str] = set()
    for groups in classes.values():
        count = max(1, round(share * len(groups)))
        held_out |= set(sorted(groups, key=lambda name: hashlib.sha256(name.encode()).hexdigest())[:count])
    return held_out


def _record(index: Index, val: Index, folder: Path, share: float) -> None:
    """Store which images are held out, or compare them with what is stored."""
    path = folder / RECORD
    names = sorted(image.relative_to(folder).as_posix() for image in val.paths)
    listing = {
        "rule": RULE,
        "share": share,
        "images": len(index),
        "digest": hashlib.sha256("\n".join(names).encode()).hexdigest(),
        "validation": names,
    }
    if not path.is_file():
        with suppress(OSError):  # read-only; the rule gives the same choice every time
            write_atomic(path, lambda part: part.write_text(json.dumps(listing, indent=0), encoding="utf-8"))
        return
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, OSError):
        stored = None
    if stored != listing:
        raise UserError(
            f"The validation set on record in '{path}' is not the one that the training images give.",
            "Images were added, removed or renamed, or the file was edited. Restore the data; or delete the file to "
            "hold out again: earlier results are then no longer comparable.",
        )
