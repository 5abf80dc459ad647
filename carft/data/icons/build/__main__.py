"""``python -m carft.data.icons.build PACKAGE``: build the drawings of the icons world from the unpacked npm package."""

from __future__ import annotations

import argparse
import io
import json
import re
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd

from carft.data.icons.build.merging import (
    Found,
    alpha,
    comparable,
    dealt,
    groups,
    is_new_hand,
    merged,
    without_contradictions,
)
from carft.data.icons.build.sources import PACKAGE, VERSION, base_name, collections, glyphs
from carft.data.icons.drawings import MASKS, SPLITS, TABLE, packed
from carft.data.icons.world import class_patterns

WRONG = Path(__file__).with_name("wrong.txt")
_EPOCH = (1980, 1, 1, 0, 0, 0)


def main() -> None:
    """Read the package, write the files, print the collections for NOTICE."""
    parser = argparse.ArgumentParser(prog="python -m carft.data.icons.build", description=__doc__)
    parser.add_argument("package", type=Path, help=f"folder of {PACKAGE} {VERSION}, unpacked")
    parser.add_argument("--out", type=Path, default=TABLE.parent, help="folder to write to")
    asked = parser.parse_args()
    require_version(asked.package)
    drawings = chosen(found_by_name(asked.package))
    write(drawings, asked.out)
    used = {cut.split(":")[0] for drawing, _ in drawings for cut in drawing.cuts}
    for prefix, c in collections(asked.package).items():
        if prefix in used:
            print(f"{prefix} | {c.title} {c.version}".rstrip() + f" | {c.author} | {c.licence}")


def require_version(package: Path) -> None:
    """Raise ``SystemExit`` for another package or version."""
    about = json.loads((package / "package.json").read_text(encoding="utf-8"))
    if (about["name"], about["version"]) != (PACKAGE, VERSION):
        raise SystemExit(f"'{package}' holds {about['name']} {about['version']}, not {PACKAGE} {VERSION}.")


def found_by_name(package: Path) -> list[Found]:
    """Return every drawing whose base name matches a class, with the pixels of its cuts."""
    patterns = [
        (task, label, re.compile("|".join(f"(?:{p})" for p in wanted)))
        for task, classes in class_patterns().items()
        for label, wanted in classes.items()
    ]
    wrong = set(WRONG.read_text(encoding="utf-8").split())
    found: dict[str, Found] = {}
    for prefix in collections(package):
        for glyph in glyphs(package, prefix):
            base = base_name(glyph.name)
            match = next(((t, c) for t, c, p in patterns if p.fullmatch(base)), None)
            mask = alpha(glyph.svg) if match and glyph.drawing not in wrong else None
            if match is None or mask is None:
                continue
            drawing = found.setdefault(glyph.drawing, Found(glyph.drawing, *match))
            drawing.cuts.append(str(glyph))
            drawing.alphas.append(mask)
            drawing.small.append(comparable(mask))
    return list(found.values())


def chosen(found: list[Found]) -> list[tuple[Found, str]]:
    """Return the drawings of the world with their splits."""
    by_class: dict[str, list[Found]] = {}
    for drawing in without_contradictions(found):
        by_class.setdefault(drawing.class_name, []).append(drawing)
    return [pair for members in by_class.values() for pair in dealt([one(group) for group in groups(members)])]


def one(group: list[Found]) -> Found:
    """Return a group of near-duplicates as one drawing, without cuts of new hands where a known foundry has it."""
    known = [drawing for drawing in group if not is_new_hand(drawing)]
    return merged(known or group)


def write(drawings: list[tuple[Found, str]], folder: Path) -> None:
    """Write the census and the masks of all drawings, the same bytes for the same drawings."""
    ordered = sorted(drawings, key=lambda pair: (pair[0].task, pair[0].class_name, pair[1], pair[0].name))
    rows = [(d.name, d.foundry, d.task, d.class_name, split, " ".join(d.cuts)) for d, split in ordered]
    table = pd.DataFrame(rows, columns=["drawing", "foundry", "task", "class", "split", "cuts"])
    table.to_csv(folder / TABLE.name, index=False, lineterminator="\n")
    with zipfile.ZipFile(folder / MASKS.name, "w") as archive:
        for split in SPLITS:
            stream = io.BytesIO()
            np.save(stream, packed(np.stack([mask for d, own in ordered if own == split for mask in d.alphas])))
            entry = zipfile.ZipInfo(f"{split}.npy", _EPOCH)
            archive.writestr(entry, stream.getvalue(), zipfile.ZIP_LZMA)


if __name__ == "__main__":
    main()
