"""What evaluation costs: a WiSE-FT curve in one pass for all alphas, and validation with cached views."""

from __future__ import annotations

import tempfile
from pathlib import Path

from benchmarks.benches import TASK, icons, image_set
from benchmarks.measuring import Figure, interleaved, ratio
from benchmarks.photos import photos
from carft.catalog.catalog import BUILT_IN
from carft.core.array_cache import ArrayCache
from carft.data.task import ImageSet
from carft.training.context import cached_views

ROUNDS = 3
ALPHAS = 3


def measure() -> list[Figure]:
    """CPU seconds of three interpolations in one pass over those of three passes."""
    with tempfile.TemporaryDirectory() as scratch:
        files = image_set(photos(Path(scratch), 64), 64)
        return [
            _one_pass(files),
            _cached(files, ArrayCache(Path(scratch) / "cache")),
        ]


def _cached(files: ImageSet, cache: ArrayCache) -> Figure:
    """CPU seconds of a validation whose views are cached over one that decodes."""
    setting = icons()
    context, cell, network = setting.context(), setting.cell("ft"), setting.network()

    def cached() -> None:
        views = cached_views(files, BUILT_IN.card(TASK), "centre", setting.pretrained.side, cache)
        context.predict(cell, network, views)

    cached()
    seconds = interleaved({"cached": cached, "decoded": lambda: context.predict(cell, network, files)}, ROUNDS)
    name = "validation with cached views over one that decodes (JPEG files of 500 x 375)"
    return Figure(name, ratio(seconds, "cached", "decoded"), "<= 0.6", ROUNDS, note=f"{len(files)} images, icons model")


def _one_pass(files: ImageSet) -> Figure:
    setting = icons()
    context, cell, network = setting.context(), setting.cell("ft"), setting.network()
    seconds = interleaved(
        {
            "one pass": lambda: context.predict_each(cell, [network] * ALPHAS, files),
            "passes": lambda: [context.predict(cell, network, files) for _ in range(ALPHAS)],
        },
        ROUNDS,
    )
    note = f"{ALPHAS} alphas, {len(files)} images, icons model"
    value, name = ratio(seconds, "one pass", "passes"), "a curve in one pass over one pass per alpha"
    return Figure(f"{name} (JPEG files of 500 x 375)", value, "<= 0.6", ROUNDS, note=note)
