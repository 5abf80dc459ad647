"""What a WiSE-FT curve's evaluation costs when every batch is decoded once for all alphas."""

from __future__ import annotations

import tempfile
from pathlib import Path

from benchmarks.benches import icons, image_set, photos
from benchmarks.measuring import Figure, interleaved, ratio
from carft.data.task import ImageSet
from carft.training.evaluate import predict, predict_each

ROUNDS = 5
ALPHAS = 3


def measure() -> list[Figure]:
    """CPU seconds of three interpolations in one pass over those of three passes."""
    with tempfile.TemporaryDirectory() as scratch:
        files = image_set(photos(Path(scratch), 64), 64)
        return [_ratio("JPEG files of 500 x 375", files, "<= 0.6"), _ratio("pixels in memory", icons().images, None)]


def _ratio(name: str, images: ImageSet, target: str | None) -> Figure:
    setting = icons()
    network = setting.network()
    given = (images, setting.pretrained, setting.prompts)
    seconds = interleaved(
        {
            "one pass": lambda: predict_each([network] * ALPHAS, *given),
            "passes": lambda: [predict(network, *given) for _ in range(ALPHAS)],
        },
        ROUNDS,
    )
    note = f"{ALPHAS} alphas, {len(images)} images, icons model"
    value = ratio(seconds, "one pass", "passes")
    return Figure(f"a curve in one pass over one pass per alpha ({name})", value, target, ROUNDS, note=note)
