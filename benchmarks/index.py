"""Opening a data set from its index against listing its files: python -m benchmarks.index [FILES]

Every figure is of a process of its own, as each process of a sweep opens the data set for itself.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.measuring import Figure, environment, memory_mib, ratio
from carft.catalog.catalog import BUILT_IN
from carft.data.checking import attest
from carft.data.indexing import VARIABLE, Indexed, digest_of, indexed, shared_of

#: files unless a number is given; 200,000 take four times as long
FILES = 50_000
ROUNDS = 3
#: memory of a process that it shares with no other
OWN = "RssAnon"
#: one split of 1,000 class folders
SET = BUILT_IN.data_sets("imagenet-v2")[0]


def measure(files: int = FILES) -> list[Figure]:
    """CPU time and memory of a process that opens the set, both ways in turn."""
    with tempfile.TemporaryDirectory() as scratch:
        root, own = Path(scratch) / "data", Path(scratch) / "indexes"
        _draw(root, files)
        first = _child("index", root, own)
        found: dict[str, list[dict[str, float]]] = {"listing": [], "index": []}
        for _ in range(ROUNDS):
            for way, rounds in found.items():
                rounds.append(_child(way, root, own))
        size = sum(path.stat().st_size for path in root.rglob("*.arrow")) / 2**20
    used, held = ({way: [one[what] for one in found[way]] for way in WAYS} for what in ("cpu", "memory"))
    cpu, memory = (ratio(what, "index", "listing") for what in (used, held))
    seconds = " over ".join(f"{statistics.median(used[way]):.2f} s" for way in ("index", "listing"))
    megabytes = " over ".join(f"{statistics.median(held[way]):.0f} MB" for way in ("index", "listing"))
    megabytes += f"; {size:.0f} MB are mapped from the file"
    once = statistics.median(first["cpu"] / one for one in used["listing"])
    return [
        Figure(f"opening by index over listing, {files:,} files", cpu, "<= 0.25", ROUNDS, note=f"CPU time, {seconds}"),
        Figure(f"memory of its own, by index over listing, {files:,} files", memory, "<= 0.5", ROUNDS, note=megabytes),
        Figure(f"making the index over listing, {files:,} files", once, None, 1, note="CPU time; once a data set"),
    ]


def _draw(root: Path, files: int) -> None:
    """A tree in the layout of the set, of files without content, an hour old."""
    when = time.time() - 3600
    for label, name in enumerate(SET.labels):
        folder = root / SET.folder / name
        folder.mkdir(parents=True)
        for number in range(label, files, len(SET.labels)):
            (folder / f"image_{number:08d}.jpeg").touch()
        os.utime(folder, (when, when))


def _child(way: str, root: Path, own: Path) -> dict[str, float]:
    command = [sys.executable, "-m", "benchmarks.index", "--way", way, "--root", str(root)]
    more = environment(**{VARIABLE: str(own)})
    return json.loads(subprocess.run(command, env=more, capture_output=True, text=True, check=True).stdout)


def _listing(root: Path) -> Indexed:
    splits, base = SET.index(root), root / SET.folder
    return Indexed(splits, digest_of(base, splits), shared_of(base, splits), {})


WAYS: dict[str, Callable[[Path], Indexed]] = {"listing": _listing, "index": lambda root: indexed(SET, root)}


def _open(way: str, root: Path) -> dict[str, float]:
    assert not SET.packed  # which imports the layout and what that needs
    before, started = memory_mib(OWN), time.process_time()
    found = WAYS[way](root)
    attest(SET, root, found)
    return {"cpu": time.process_time() - started, "memory": memory_mib(OWN) - before}


def main() -> None:
    """Open the set once, as a child of a benchmark, or measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="?", type=int, default=FILES)
    parser.add_argument("--way", choices=WAYS, help=argparse.SUPPRESS)
    parser.add_argument("--root", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.way:
        print(json.dumps(_open(asked.way, asked.root)))
        return
    for figure in measure(asked.files):
        print(f"{figure.name}: {figure.measured:.3g} {figure.unit} ({figure.note})")


if __name__ == "__main__":
    main()
