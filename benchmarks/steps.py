"""What CAR-FT costs beside plain fine-tuning: one update, the pretrained model's features computed or kept."""

from __future__ import annotations

import tempfile
from itertools import count
from pathlib import Path

from benchmarks.benches import Setting, icons, vit
from benchmarks.measuring import Figure, interleaved, ratio


def measure() -> list[Figure]:
    """Ratios of CPU seconds of whole trainings, validation left out."""
    return [*_ratios("icons model", icons(), rounds=3), *_ratios("ViT-B-32", vit(), rounds=2)]


def _ratios(model: str, setting: Setting, rounds: int) -> list[Figure]:
    with tempfile.TemporaryDirectory() as scratch:
        folders = (Path(scratch) / str(number) for number in count())
        filled = Path(scratch) / "filled"
        setting.train("car_ft", filled)
        seconds = interleaved(
            {
                "ft": lambda: setting.train("ft"),
                "naive": lambda: setting.train("car_ft"),
                "cold": lambda: setting.train("car_ft", next(folders)),
                "warm": lambda: setting.train("car_ft", filled),
            },
            rounds,
        )
    naive, cold, warm = (ratio(seconds, *pair) for pair in (("naive", "ft"), ("cold", "naive"), ("warm", "ft")))
    note = f"{setting.steps} steps of {setting.training.batch_size} images"
    return [
        Figure(f"CAR-FT step, features not kept, over FT step ({model})", naive, None, rounds),
        Figure(f"CAR-FT step, cold, over features not kept ({model})", cold, "<= 1.03", rounds),
        Figure(f"CAR-FT step, warm, over FT step ({model})", warm, "<= 1.03", rounds, note=note),
    ]
