"""The builder of the drawings: names, foundries, merging, splits. The npm package itself is not needed."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from carft.data.icons.build.__main__ import one, write
from carft.data.icons.build.merging import (
    MAX_CUTS,
    MAX_PER_CLASS,
    NEW_HANDS,
    SHARES,
    Found,
    alpha,
    comparable,
    dealt,
    groups,
    merged,
    overlap,
    without_contradictions,
)
from carft.data.icons.build.sources import Glyph, base_name
from carft.data.icons.drawings import GLYPH_SIDE, LEVELS

DISC = '<circle cx="12" cy="12" r="{r}"/>'
BAR = '<rect x="2" y="9" width="20" height="{h}"/>'


def svg(body: str) -> str:
    return f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 24 24">{body}</svg>'


def found(name: str, *bodies: str, label: str = "disc") -> Found:
    drawing = Found(name, "media", label)
    for number, body in enumerate(bodies):
        mask = alpha(svg(body))
        assert mask is not None
        drawing.cuts.append(f"{drawing.foundry}:{number}")
        drawing.alphas.append(mask)
        drawing.small.append(comparable(mask))
    return drawing


@pytest.mark.parametrize(
    ("glyph", "base"),
    [
        ("car-side-outline", "car-side"),
        ("baseline-credit_card", "credit-card"),
        ("bell-24-filled", "bell"),
        ("bxs-moon", "moon"),
        ("sun-bold-duotone", "sun"),
        ("arrow-left", "arrow-left"),
    ],
)
def test_cuts_of_a_drawing_have_one_base_name(glyph: str, base: str) -> None:
    assert base_name(glyph) == base


def test_collections_of_one_team_are_one_foundry() -> None:
    assert {Glyph(prefix, "car", "").drawing for prefix in ("mdi", "ic", "material-symbols")} == {"material/car"}
    assert Glyph("tabler", "car", "").drawing == "tabler/car"


def test_ink_is_cropped_and_centred() -> None:
    mask = alpha(svg('<rect x="20" y="20" width="4" height="2"/>'))
    assert mask is not None
    assert mask.shape == (GLYPH_SIDE, GLYPH_SIDE) and mask.max() == LEVELS - 1
    rows = np.flatnonzero(mask.any(1))
    assert mask.any(0).all() and rows[0] == GLYPH_SIDE - 1 - rows[-1]
    assert alpha(svg("")) is None


def test_overlap_is_intersection_over_union() -> None:
    a, b = np.array([[1.0, 1.0, 0.0, 0.0]]), np.array([[1.0, 0.0, 0.0, 0.0], [0.0, 0.0, 1.0, 1.0]])
    assert overlap(a, b) == pytest.approx(np.array([[0.5, 0.0]]))


def test_near_duplicates_are_one_drawing_and_what_two_classes_share_is_dropped() -> None:
    round_ = [found("a/disc", DISC.format(r=10)), found("b/disc", DISC.format(r=9.9)), found("c/bar", BAR.format(h=3))]
    assert sorted(len(group) for group in groups(round_)) == [1, 2]
    other = found("d/ball", DISC.format(r=10), label="ball")
    assert [drawing.name for drawing in without_contradictions([*round_, other])] == ["c/bar"]


def test_a_merged_drawing_keeps_its_most_different_cuts() -> None:
    ring = '<circle cx="12" cy="12" r="9" fill="none" stroke="black" stroke-width="{w}"/>'
    drawing = merged(
        [found("a/disc", DISC.format(r=10), DISC.format(r=9.9), *(ring.format(w=w) for w in (1, 2, 4, 7)))]
    )
    assert drawing.cuts[0] == "a:0" and "a:1" not in drawing.cuts and len(drawing.cuts) == MAX_CUTS


def test_a_drawing_that_known_foundries_have_is_no_new_hand() -> None:
    new = sorted(NEW_HANDS)[0]
    group = [found(f"{new}/disc", DISC.format(r=10)), found("a/disc", DISC.format(r=9))]
    assert one(group).name == "a/disc" and one(group).cuts == ["a:0"]
    assert one(group[:1]).name == f"{new}/disc"


def test_splits_are_dealt_evenly_over_foundries_and_the_same_every_time() -> None:
    drawings = [Found(f"f{n % 10}/{n}", "media", "disc") for n in range(150)]
    pairs = dealt(drawings)
    assert pairs == dealt(list(reversed(drawings)))
    assert len(pairs) == MAX_PER_CLASS
    counts = Counter(split for _, split in pairs)
    for split, share in SHARES.items():
        assert counts[split] == pytest.approx(share * MAX_PER_CLASS, abs=2)
    of_one = Counter(split for drawing, split in pairs if drawing.foundry == "f3")
    assert of_one["pretrain"] >= 3 and of_one["test"] >= 2
    new = [Found(f"{sorted(NEW_HANDS)[0]}/{n}", "media", "disc") for n in range(3)]
    assert [split for _, split in dealt(new)] == ["hands"] * 3


def test_the_files_are_the_same_bytes_for_the_same_drawings(tmp_path: Path) -> None:
    pairs = [(found(f"a/{n}", DISC.format(r=n + 3)), split) for n, split in enumerate((*SHARES, "hands"))]
    for name, order in (("first", pairs), ("second", pairs[::-1])):
        (tmp_path / name).mkdir()
        write(order, tmp_path / name)
    for name in ("drawings.csv", "drawings.npz"):
        assert (tmp_path / "first" / name).read_bytes() == (tmp_path / "second" / name).read_bytes()
