"""A validation set carved from training images by a stable hash, written down and checked. No torch."""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from pathlib import Path

from carft.core.errors import UserError
from carft.core.files import write_atomic
from carft.data.sets import Index

#: the file in a data set's folder that says which training images are held out
RECORD = "carft-validation.json"
#: of each class's groups, where a data set does not say otherwise
SHARE = 0.1
RULE = "of each class, the share of groups with the lowest sha256 of their name"


def carved(index: Index, place: Path, share: float = SHARE) -> tuple[Index, Index]:
    """(train, val): of each class the ``share`` of groups with the lowest sha256 of their name goes to ``val``.

    At least one group of a class goes and at least one stays; images of a group stay together, across classes too.
    The choice depends on names alone, never on order or place. It is kept as ``carft-validation.json`` in ``place``
    where that can be written, and ``UserError`` when what is kept there is not what the files give.
    """
    held_out = _held_out(index, share)
    rows = [i for i, group in enumerate(index.groups) if group in held_out]
    rest = [i for i, group in enumerate(index.groups) if group not in held_out]
    train, val = index.rows(rest), index.rows(rows)
    emptied = sorted(set(val.labels) - set(train.labels))
    if emptied:
        raise UserError(
            f"No validation set can be held out of the training images in '{place}': label {emptied[0]} would be "
            "left without an image to train on.",
            "Every class needs at least two training images that are not of one group.",
        )
    _keep(_listing(index, val, place, share), place)
    return train, val


def _held_out(index: Index, share: float) -> set[str]:
    classes: dict[int, set[str]] = defaultdict(set)
    for label, group in zip(index.labels, index.groups, strict=True):
        classes[label].add(group)
    held_out: set[str] = set()
    for groups in classes.values():
        count = max(1, round(share * len(groups)))
        held_out |= set(sorted(groups, key=_rank)[:count])
    return held_out


def _rank(name: str) -> tuple[str, str]:
    return hashlib.sha256(name.encode()).hexdigest(), name


def _listing(index: Index, val: Index, place: Path, share: float) -> dict[str, object]:
    names = sorted(path.relative_to(place).as_posix() for path in val.paths)
    return {
        "rule": RULE,
        "share": share,
        "images": len(index),
        "digest": hashlib.sha256("\n".join(names).encode()).hexdigest(),
        "validation": names,
    }


def _keep(listing: dict[str, object], place: Path) -> None:
    path = place / RECORD
    if not path.is_file():
        try:
            write_atomic(path, lambda part: part.write_text(json.dumps(listing, indent=0), encoding="utf-8"))
        except OSError:
            return  # a folder that only can be read: the rule gives the same answer every time
        return
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, OSError):
        kept = None
    if kept != listing:
        raise UserError(
            f"The validation set on record in '{path}' is not the one that the training images give.",
            "Images came, went or were renamed since, or the file was edited. Put the data back as they were; or, to "
            "hold out anew, delete the file: results from before are then no longer comparable.",
        )
