"""The census of the icons world: the class and split of every drawing.

The census ships as ``drawings.csv`` and is attested by its digest. :func:`build_census` builds it from the fonts and
``classes.json``; only ``icons census`` and a test call it.

Rules (docs/icons-world.md): a drawing is one base name of one foundry with all its cuts. Drawings of one class with
nearly the same pixels are merged. Two foundries are reserved for the suite ``hands``. A stable hash assigns the other
drawings of a class to pretraining, train, val and test, so that every drawing is in one split.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image, ImageFilter, ImageFont

from carft.core.files import file_digest
from carft.data.icons.foundries import FOUNDRIES, base_name, font_path, glyph_names
from carft.data.icons.world import class_patterns

TABLE = Path(__file__).with_name("drawings.csv")
#: foundries that are not used in pretraining and training
NEW_HANDS_FOUNDRIES = frozenset({"remix", "lucide"})
MAX_DRAWINGS_PER_CLASS = 24
#: split -> share of the drawings of a class, without the new-hands foundries, in the order of assignment
SHARES = {"pretrain": 0.34, "train": 0.27, "val": 0.13, "test": 0.26}
SAME_DRAWING_IOU = 0.80
SAME_PIXELS_IOU = 0.90
#: cuts that are not legible at 64 pixels
_FAINT = re.compile(r"-(thin|duotone)$")
_MASK_SIDE = 24


@dataclass(frozen=True)
class Cut:
    """One glyph of one font: foundry, index of the font in the foundry's tuple, code point."""

    foundry: str
    font: int
    code: int

    def __str__(self) -> str:
        return f"{self.font}:{self.code:x}"


@dataclass(frozen=True)
class Drawing:
    """One drawing: the unit of splits and of resampling."""

    name: str
    """``<foundry>/<base name>``."""
    foundry: str
    task: str
    class_name: str
    split: str
    """``pretrain``, ``train``, ``val``, ``test`` or ``hands``."""
    cuts: tuple[Cut, ...]


@cache
def census() -> tuple[Drawing, ...]:
    """Return every drawing of the world, from the shipped table."""
    table = pd.read_csv(TABLE, dtype=str, keep_default_na=False)
    return tuple(_from_row(row) for row in table.to_dict("records"))


def census_digest() -> str:
    """Return sha256 of the shipped table."""
    return file_digest(TABLE)


def _from_row(row: Mapping[Hashable, str]) -> Drawing:
    cuts = []
    for part in row["cuts"].split():
        foundry, font, code = part.split(":")
        cuts.append(Cut(foundry, int(font), int(code, 16)))
    return Drawing(row["drawing"], row["foundry"], row["task"], row["class"], row["split"], tuple(cuts))


def build_census() -> pd.DataFrame:
    """Build the table from the fonts, with columns drawing, foundry, task, class, split, cuts."""
    found = _find_drawings()
    masks = {name: inked for name, (_, _, cuts) in found.items() if len(inked := _masks(cuts))}
    found = {name: entry for name, entry in found.items() if name in masks}
    _drop_contradictions(found, masks)
    rows = []
    by_class: dict[tuple[str, str], list[str]] = {}
    for name, (task, label, _) in found.items():
        by_class.setdefault((task, label), []).append(name)
    for (task, label), names in by_class.items():
        groups = _merge(names, masks)
        for lead, split in _assigned(task, label, groups):
            members = [m for m in groups[lead] if _is_new_hand(m) == _is_new_hand(lead)]
            cuts = sorted({f"{c.foundry}:{c}" for member in members for c in found[member][2]})
            rows.append((lead, lead.split("/")[0], task, label, split, " ".join(cuts)))
    table = pd.DataFrame(rows, columns=["drawing", "foundry", "task", "class", "split", "cuts"])
    return table.sort_values(["task", "class", "split", "drawing"], ignore_index=True)


def _find_drawings() -> dict[str, tuple[str, str, list[Cut]]]:
    """Return drawing name -> (task, class, cuts), by names only."""
    patterns = [
        (task, label, re.compile("|".join(f"(?:{p})" for p in wanted)))
        for task, classes in class_patterns().items()
        for label, wanted in classes.items()
    ]
    found: dict[str, tuple[str, str, list[Cut]]] = {}
    for foundry, fonts in FOUNDRIES.items():
        for index, font in enumerate(fonts):
            for glyph, code in glyph_names(font).items():
                base = base_name(glyph)
                match = next(((t, c) for t, c, p in patterns if p.fullmatch(base)), None)
                if match is None or _FAINT.search(glyph) or glyph.startswith("bxl-"):
                    continue
                _, _, cuts = found.setdefault(f"{foundry}/{base}", (*match, []))
                cuts.append(Cut(foundry, index, code))
    return found


@cache
def _font(foundry: str, index: int, size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(str(font_path(FOUNDRIES[foundry][index])), size)


def glyph_image(cut: Cut, size: int = 96) -> Image.Image | None:
    """Return the glyph as an "L" image cropped to its ink (255); None for an empty glyph."""
    mask = _font(cut.foundry, cut.font, size).getmask(chr(cut.code), mode="L")
    if 0 in mask.size:
        return None
    image = Image.frombytes("L", mask.size, bytes(mask))
    box = image.getbbox()
    return image.crop(box) if box else None


def _mask(cut: Cut) -> np.ndarray | None:
    """Return the ink of a glyph, centred on a small square and slightly blurred, as float32 (side * side,)."""
    image = glyph_image(cut)
    if image is None:
        return None
    side = max(image.size)
    square = Image.new("L", (side, side), 0)
    square.paste(image, ((side - image.width) // 2, (side - image.height) // 2))
    small = square.resize((_MASK_SIDE, _MASK_SIDE), Image.Resampling.BOX).filter(ImageFilter.GaussianBlur(0.5))
    return np.asarray(small, dtype=np.float32).ravel() / 255


def _masks(cuts: list[Cut]) -> np.ndarray:
    """Return the masks of the cuts with ink, (n, side * side); n may be 0."""
    return np.array([mask for mask in map(_mask, cuts) if mask is not None])


def _overlap(a: np.ndarray, b: np.ndarray) -> float:
    """Return the largest soft intersection over union between any cut of a (n, d) and any cut of b (m, d)."""
    low = np.minimum(a[:, None], b[None]).sum(-1)
    high = np.maximum(a[:, None], b[None]).sum(-1)
    return float((low / np.maximum(high, 1e-6)).max())


def _drop_contradictions(found: dict[str, tuple[str, str, list[Cut]]], masks: dict[str, np.ndarray]) -> None:
    """Remove, in place, drawings whose pixels occur in another class too."""
    names = list(found)
    owner = np.concatenate([np.full(len(masks[n]), i) for i, n in enumerate(names)])
    stack = np.concatenate([masks[n] for n in names])
    unit = stack / np.linalg.norm(stack, axis=1, keepdims=True)
    close = np.argwhere(np.triu(unit @ unit.T > 0.93, 1))
    bad = set()
    for i, j in close:
        a, b = names[owner[i]], names[owner[j]]
        if found[a][1] != found[b][1] and _overlap(stack[i : i + 1], stack[j : j + 1]) > SAME_PIXELS_IOU:
            bad |= {a, b}
    for name in bad:
        del found[name]


def _merge(names: list[str], masks: dict[str, np.ndarray]) -> dict[str, list[str]]:
    """Group near-duplicates: lead name -> members. A group led by a new-hands drawing holds only new-hands drawings.

    A new-hands drawing that is nearly a drawing of another foundry is not used.
    """
    parent = {n: n for n in names}

    def root(n: str) -> str:
        while parent[n] != n:
            n = parent[n]
        return n

    for i, a in enumerate(names):
        for b in names[i + 1 :]:
            limit = SAME_DRAWING_IOU if a.split("/")[0] == b.split("/")[0] else SAME_PIXELS_IOU
            if root(a) != root(b) and _overlap(masks[a], masks[b]) > limit:
                parent[root(b)] = root(a)
    groups: dict[str, list[str]] = {}
    for n in names:
        groups.setdefault(root(n), []).append(n)
    return {_lead(members): members for members in groups.values()}


def _lead(members: list[str]) -> str:
    known = [m for m in members if not _is_new_hand(m)]
    return (known or members)[0]


def _is_new_hand(name: str) -> bool:
    return name.split("/")[0] in NEW_HANDS_FOUNDRIES


def _assigned(task: str, label: str, leads: dict[str, list[str]]) -> list[tuple[str, str]]:
    """Return (lead, split) pairs. A stable hash of class and drawing gives the order of assignment."""

    def order(name: str) -> str:
        return hashlib.sha256(f"icons/1/{task}/{label}/{name}".encode()).hexdigest()

    hands = sorted((n for n in leads if _is_new_hand(n)), key=order)
    others = sorted((n for n in leads if n not in hands), key=order)[:MAX_DRAWINGS_PER_CLASS]
    counts = np.maximum(1, np.rint(np.array(list(SHARES.values())) * len(others)).astype(int))
    counts[0] += len(others) - counts.sum()  # pretraining gets the rest of the rounding
    edges = np.concatenate([[0], np.cumsum(counts)])
    assigned = [(n, "hands") for n in hands]
    for split, low, high in zip(SHARES, edges[:-1], edges[1:], strict=True):
        assigned += [(n, split) for n in others[low:high]]
    return assigned
