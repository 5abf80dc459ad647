"""Whether training waits for images: pixels in memory, and JPEG files decoded ahead of need."""

from __future__ import annotations

import tempfile
import time
from dataclasses import replace
from pathlib import Path

from benchmarks.benches import Setting, icons, image_set, vit
from benchmarks.measuring import Figure
from benchmarks.photos import photos
from benchmarks.timed import clocks

PHOTOS = 16


def measure() -> list[Figure]:
    """Share of a training's wall time that is spent in waiting for the next batch."""
    with tempfile.TemporaryDirectory() as scratch:
        files = image_set(photos(Path(scratch), PHOTOS), PHOTOS)
        from_files = replace(vit(), images=files)
        return [
            _wait("icons model, pixels in memory", icons(), rounds=3),
            _wait("ViT-B-32, JPEG files of 500 x 375", from_files, rounds=1),
        ]


def _wait(name: str, setting: Setting, rounds: int) -> Figure:
    setting.train("ft")
    with clocks() as clock:
        started = time.perf_counter()
        for _ in range(rounds):
            setting.train("ft")
        share = clock.spent["data"] / (time.perf_counter() - started)
    steps = rounds * setting.steps
    return Figure(f"data wait ({name})", share, "<= 0.05", steps, unit="share of time", note="n counts steps")
