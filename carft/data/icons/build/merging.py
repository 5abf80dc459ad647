"""From glyphs to drawings: contradictory ones are dropped, near-duplicates merged, similar cuts thinned out."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from carft.data.icons.build.rasters import overlap

SAME_DRAWING_IOU = 0.80
"""Two drawings of one foundry and class are one from this overlap of any two of their cuts."""
SAME_PIXELS_IOU = 0.90
"""The same for two foundries, and for glyphs of two classes that contradict each other."""
SAME_CUT_IOU = 0.85
"""Of cuts that overlap more than this, the drawings file keeps one."""
MAX_CUTS = 3


@dataclass
class Found:
    """A drawing as its name has it, before merging."""

    name: str
    """``<foundry>/<base name>``."""
    task: str
    class_name: str
    cuts: list[str] = field(default_factory=list)
    """``<collection>:<glyph>``."""
    alphas: list[np.ndarray] = field(default_factory=list)
    """One alpha mask a cut."""
    small: list[np.ndarray] = field(default_factory=list)
    """One mask for comparisons a cut."""

    @property
    def foundry(self) -> str:
        """Return the foundry, the part of the name before the slash."""
        return self.name.split("/")[0]


def without_contradictions(found: list[Found]) -> list[Found]:
    """Return the drawings none of whose cuts has nearly the pixels of a cut of another class."""
    stack = np.concatenate([f.small for f in found])
    owner = np.repeat(np.arange(len(found)), [len(f.cuts) for f in found])
    unit = stack / np.linalg.norm(stack, axis=1, keepdims=True)
    bad: set[int] = set()
    for start in range(0, len(unit), 2000):
        rows, columns = np.nonzero(unit[start : start + 2000] @ unit.T > 0.93)
        for i, j in zip(rows + start, columns, strict=True):
            a, b = int(owner[i]), int(owner[j])
            if i >= j or found[a].class_name == found[b].class_name:
                continue
            if overlap(stack[i : i + 1], stack[j : j + 1])[0, 0] > SAME_PIXELS_IOU:
                bad |= {a, b}
    return [f for i, f in enumerate(found) if i not in bad]


def groups(found: list[Found]) -> list[list[Found]]:
    """Return the drawings of one class in groups of near-duplicates. Merging is transitive."""
    stack = np.concatenate([f.small for f in found])
    owner = np.repeat(np.arange(len(found)), [len(f.cuts) for f in found])
    foundry = np.array([f.foundry for f in found])[owner]
    limit = np.where(foundry[:, None] == foundry[None], SAME_DRAWING_IOU, SAME_PIXELS_IOU)
    rows, columns = np.nonzero(overlap(stack, stack) > limit)
    links = coo_matrix((np.ones(len(rows)), (owner[rows], owner[columns])), shape=(len(found), len(found)))
    count, label = connected_components(links, directed=False)
    return [[f for f, own in zip(found, label, strict=True) if own == k] for k in range(count)]


def merged(group: list[Found]) -> Found:
    """Return the group as one drawing: the name of its first member and its most different cuts, at most MAX_CUTS."""
    first = group[0]
    drawing = Found(first.name, first.task, first.class_name)
    for member in group:
        for cut, mask, small in zip(member.cuts, member.alphas, member.small, strict=True):
            near = drawing.small and overlap(small[None], np.stack(drawing.small)).max() > SAME_CUT_IOU
            if not near and len(drawing.cuts) < MAX_CUTS:
                drawing.cuts.append(cut)
                drawing.alphas.append(mask)
                drawing.small.append(small)
    return drawing
