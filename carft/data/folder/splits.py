"""Splits of your own data by file stem, the same in every domain."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from carft.core.errors import UserError

SPLITS = ("train", "val", "test")
#: shares without a split.json
TRAIN, VAL = 0.6, 0.2


def split_of(stem: str) -> str:
    """Return the split of a stem without a split.json: a stable hash of the stem, 60 / 20 / 20."""
    share = int.from_bytes(hashlib.sha256(stem.encode()).digest()[:8], "big") / 2**64
    return "train" if share < TRAIN else "val" if share < TRAIN + VAL else "test"


def splits_of(stems: Collection[str], listed: Mapping[str, Any] | None, path: Path) -> dict[str, str]:
    """Return stem -> split for every stem on disk, from the content of split.json or by :func:`split_of`.

    Raises ``UserError`` if split.json has other keys than train, val and test, lists a stem twice or a stem without an
    image, or omits a stem.
    """
    if listed is None:
        return {stem: split_of(stem) for stem in stems}
    if set(listed) != set(SPLITS) or not all(_is_list_of_names(listed[s]) for s in SPLITS):
        raise UserError(
            f"'{path}' must have the keys train, val and test, each with a list of file stems; it has "
            f"{', '.join(map(str, listed)) or 'none'}.",
            'For example: {"train": ["cat-01"], "val": ["cat-02"], "test": ["cat-03"]}',
        )
    found: dict[str, str] = {}
    for split in SPLITS:
        for stem in listed[split]:
            if found.setdefault(stem, split) != split:
                raise UserError(
                    f"The stem '{stem}' is in both {found[stem]} and {split} of '{path}'.",
                    "One stem belongs to one split, in every domain: take it out of one list.",
                )
    _require_same(set(found), set(stems), path)
    return found


def _is_list_of_names(value: object) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str) and all(isinstance(v, str) for v in value)


def _require_same(listed: set[str], present: set[str], path: Path) -> None:
    if gone := sorted(listed - present):
        raise UserError(
            f"'{path}' names {len(gone)} stems that no image has, '{gone[0]}' first.",
            "A stem is a file's name without folder and ending: photo/cat/cat-01.jpg has the stem cat-01.",
        )
    if left := sorted(present - listed):
        raise UserError(
            f"'{path}' leaves out {len(left)} stems that have images, '{left[0]}' first.",
            "Put every stem in one of the three lists, or delete split.json to have the split made by a stable hash.",
        )
