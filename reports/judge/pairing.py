"""Contributions of seeds and groups to a metric, computed from predictions, and their paired differences."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import product

import numpy as np

from carft.config.registry import METHODS
from reports.judge.entry import Entry
from reports.judge.evidence import Evidence, Source
from reports.judge.intervals.two_way import Contributions
from reports.note import Note


class Mismatch(Exception):
    """Two cells were evaluated on different images, or with different labels, so they cannot be compared."""

    def __init__(self, first: str, second: str, name: str) -> None:
        super().__init__(first, second, name)
        words = f"Cells {first} and {second} were evaluated on different images or labels of {name}"
        self.note = Note("images", words, cells=(first, second))


def contributions(evidence: Evidence, cells: Sequence[str], names: Sequence[str], what: str) -> Contributions | None:
    """Contributions of a metric averaged over the named sets, for the cells of one entry (one row per cell).

    what: ``top1``, ``mean_per_class``, or ``context`` for context recognition, macro-averaged over the known contexts
    of each set. None when a set has no known context. ``Mismatch`` when the cells were evaluated on different images.
    """
    frames = tuple(evidence.outcome(cells[0], name).frame for name in names)
    if what == "context":
        for frame in frames:
            if not (frame.contexts >= 0).any():
                return None
    codes, strata, names_of_groups = evidence.folder.files.groups_of(frames)
    values, whole, images = np.zeros((len(cells), len(strata))), np.zeros(len(strata)), np.zeros(len(strata))
    for name, frame, code in zip(names, frames, codes, strict=True):
        weights = frame.weights(what) / len(names)
        whole += np.bincount(code, weights, minlength=len(strata))
        images += np.bincount(code, weights > 0, minlength=len(strata))
        for row, cell in enumerate(cells):
            outcome = evidence.outcome(cell, name)
            if outcome.frame is not frame:
                raise Mismatch(cells[0], cell, name)
            of_images = outcome.predicted == outcome.labels
            if what == "context":
                of_images = outcome.predicted_contexts == outcome.contexts
            values[row] += np.bincount(code, weights * of_images, minlength=len(strata))
    counted = whole > 0  # groups without an image of a known context add nothing to recognition
    searches = np.array([evidence.search(cell) for cell in cells])
    scoped = _scoped(evidence, cells[0], names_of_groups[counted])
    return Contributions(values[:, counted], strata[counted], whole[counted], images[counted], searches, scoped)


def _scoped(evidence: Evidence, cell: str, names: np.ndarray) -> np.ndarray | None:
    """Return the names of groups with the images that they are of, on your own data alone: tasks may share those."""
    spec = evidence.records[cell].cell
    if evidence.card(spec.task).scale != "own":
        return None
    images = spec.data_version.rpartition("-")[0]  # without the digest of domains and words
    return np.array([f"{images} {name}" for name in names.tolist()])


def paired(
    evidence: Evidence, task: str, first: Entry, second: Entry, names: Sequence[str], what: str
) -> tuple[Contributions, Source] | None:
    """first minus second, paired by seed and image. None when missing.

    An untrained entry pairs with every seed; what is made of all cells of a search, such as a soup, with every seed of
    its search.

    Returns the contributions of the difference and the cells it rests on. ``Mismatch`` on different images.
    """
    pairs = _pairs(evidence, task, first, second)
    return difference(evidence, pairs, names, what) if pairs else None


def _pairs(evidence: Evidence, task: str, first: Entry, second: Entry) -> list[tuple[str, str]]:
    ours, theirs = evidence.cells(task, first), evidence.cells(task, second)
    if "untrained" in (evidence.methods[first.method].kind, evidence.methods[second.method].kind):
        return list(product(ours, theirs))
    pairs = []
    if _is_of_search(first) or _is_of_search(second):
        for other, own in product(theirs, ours):
            if evidence.search(own) == evidence.search(other):
                pairs.append((own, other))
        return pairs
    by_seed = {evidence.seed(cell): cell for cell in theirs}
    for cell in ours:
        if evidence.seed(cell) in by_seed:
            pairs.append((cell, by_seed[evidence.seed(cell)]))
    return pairs


def _is_of_search(entry: Entry) -> bool:
    """Whether a cell of an entry is made of all cells of a search, so that it has no seed of its own."""
    return entry.method == "soup" or (entry.method in METHODS and METHODS[entry.method].of_several)


def difference(
    evidence: Evidence, pairs: Sequence[tuple[str, str]], names: Sequence[str], what: str
) -> tuple[Contributions, Source] | None:
    """Contributions of the differences of pairs of cells, one row per pair; None where no context is known."""
    firsts, seconds = zip(*pairs, strict=True)
    cells = (*firsts, *seconds)
    both = contributions(evidence, cells, names, what)
    if both is None:
        return None
    ours, theirs = np.split(both.values, 2)
    searches = np.maximum(*np.split(both.searches, 2))  # that of an untrained cell is 1
    return replace(both, values=ours - theirs, searches=searches), tuple(dict.fromkeys(cells))
