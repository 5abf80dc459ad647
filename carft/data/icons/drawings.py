"""The drawings of the icons world: what each shows, its split, and the pixels of its cuts.

Both files are frozen and attested by digest; docs/icons-world.md says how they were made. ``drawings.csv`` is the
census, one row a drawing. ``drawings.npz`` holds one array a split: the alpha masks of all cuts in the order of the
census, two pixels of four bits a byte.
"""

import hashlib
from collections import Counter
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd

from carft.core.files import file_digest
from carft.data.icons.world import ALL, HANDS, PREFIX, SHOWN, SUITES, nine_tasks, tasks_of_classes

#: of every training domain one drawing in so many is validation
_FIFTH = 5
#: of the drawings for pretraining that it does not show, one in so many is validation
_FOURTH = 4
TABLE = Path(__file__).with_name("drawings.csv")
MASKS = Path(__file__).with_name("drawings.npz")
SPLITS = ("pretrain", "train", "val", "test", "hands")
GLYPH_SIDE = 96
LEVELS = 16
"""Levels of ink in a mask."""


@dataclass(frozen=True)
class IconDrawing:
    """One drawing: the unit of splits and of resampling. The first fields are the columns of the census, in order."""

    name: str
    """``<foundry>/<base name>``."""
    foundry: str
    task: str
    class_name: str
    split: str
    """One of ``SPLITS``."""
    cuts: tuple[str, ...]
    """Its versions (outlined, filled), as ``<collection>:<glyph>``."""
    first: int
    """Row of the first cut in the masks of its split."""
    rank: int
    """Number of the drawing among those of its class and split, from 0."""


@cache
def census() -> tuple[IconDrawing, ...]:
    """Return every drawing of the world, from the shipped table."""
    table = pd.read_csv(TABLE, dtype=str, keep_default_na=False)
    count = table["cuts"].str.count(" ") + 1
    table["first"] = count.groupby(table["split"]).cumsum() - count
    table["rank"] = table.groupby(["split", "class"]).cumcount()
    table["cuts"] = table["cuts"].str.split().map(tuple)
    return tuple(IconDrawing(*row) for row in table.itertuples(index=False))


@cache
def _masks(split: str) -> np.ndarray:
    with np.load(MASKS, allow_pickle=False) as archive:
        return archive[split]


def mask(drawing: IconDrawing, cut: int) -> np.ndarray:
    """Return the ink of a cut, (GLYPH_SIDE, GLYPH_SIDE) uint8 in [0, 255]."""
    packed = _masks(drawing.split)[drawing.first + cut]
    return np.stack([packed >> 4, packed & 15], axis=-1).reshape(GLYPH_SIDE, GLYPH_SIDE) * np.uint8(255 // (LEVELS - 1))


@cache
def drawings_digest() -> str:
    """Return sha256 over the census and the masks."""
    return hashlib.sha256((file_digest(TABLE) + file_digest(MASKS)).encode()).hexdigest()


def pretraining_drawings() -> list[IconDrawing]:
    """Return the drawings that pretraining showed: of each class the first, at least one."""
    drawings = [drawing for drawing in census() if drawing.split == "pretrain"]
    size = Counter(drawing.class_name for drawing in drawings)
    shown = []
    for drawing in drawings:
        count = max(1, round(SHOWN * size[drawing.class_name]))
        if drawing.rank < count:
            shown.append(drawing)
    return shown


@cache
def drawings_of(task: str, part: str) -> tuple[IconDrawing, ...]:
    """Return the drawings of a task in ``train``, ``val``, ``test`` or ``hands``, in the order of the census.

    The drawings of a class in a part are dealt to its tasks in turn, so that no drawing is in two; those that
    pretraining leaves are dealt too, one in four of them to validation.
    """
    name = task.rpartition("/")[2]
    of_part = [drawing for drawing in census() if _part(drawing) == part]
    if task == ALL:
        return tuple(of_part)
    number = nine_tasks().index(f"{PREFIX}/{name}")
    seen = Counter[str]()
    found = []
    for drawing in of_part:
        owners = tasks_of_classes()[drawing.class_name]
        if owners[seen[drawing.class_name] % len(owners)] == number:
            found.append(drawing)
        seen[drawing.class_name] += 1
    return tuple(found)


def _part(drawing: IconDrawing) -> str:
    """Return the part that a drawing belongs to: its split, or where one of pretraining goes that is not shown."""
    if drawing.split != "pretrain" or drawing in _shown():
        return drawing.split
    return "train" if drawing.rank % _FOURTH else "val"


@cache
def _shown() -> frozenset[IconDrawing]:
    return frozenset(pretraining_drawings())


@cache
def domains() -> dict[str, list[IconDrawing]]:
    """Return domain of ``icons-3/domains/...`` -> its drawings, in the order of the census.

    Those of the new hands are the domain ``hands``. The others that pretraining did not show are dealt in turn to the
    four domains of contexts.
    """
    found: dict[str, list[IconDrawing]] = {name: [] for name in SUITES}
    others = list(SUITES)
    others.remove(HANDS)
    seen = Counter[str]()
    for drawing in census():
        if drawing.split == "hands":
            found[HANDS].append(drawing)
        elif _part(drawing) != "pretrain":
            domain = others[seen[drawing.class_name] % len(others)]
            found[domain].append(drawing)
            seen[drawing.class_name] += 1
    return found


def parts(domain: str) -> dict[str, list[IconDrawing]]:
    """Return the drawings of a training domain, as ``train`` and ``val``."""
    train = list(domains()[domain])
    val = train[::_FIFTH]
    del train[::_FIFTH]
    return {"train": train, "val": val}
