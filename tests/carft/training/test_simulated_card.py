"""A step of each method on a card that torch simulates: where tensors are, how many bytes and operations they take."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence

import pytest

from carft.config.registry import METHODS
from carft.models.availability import size_of
from tests.support.cards import TINY_VIT
from tests.support.helpers import ROOT, environment

TRAINED = [name for name, card in METHODS.items() if card.epoch_passes]
IMAGES = 128


def steps(
    methods: Sequence[str], model: str, precision: str, workers: int = 1, counts: bool = True
) -> dict[str, dict[str, float]]:
    """Method -> ``bytes`` and ``flop`` of a step of a worker with :data:`IMAGES` images, if they are counted."""
    asked = {"methods": methods, "model": model, "precision": precision, "images": IMAGES, "workers": workers}
    asked["counts"] = counts
    command = [sys.executable, "-m", "tests.support.simulated", json.dumps(asked)]
    done = subprocess.run(command, cwd=ROOT, env=environment(), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-5000:]
    return json.loads(done.stdout)


@pytest.mark.slow
@pytest.mark.parametrize("workers", [pytest.param(1, marks=pytest.mark.full), 8])
def test_a_step_of_every_method_leaves_its_tensors_on_the_card(workers: int) -> None:
    """A tensor of the host in a sum with one of the card is an error there, as on a GPU."""
    allowed = [name for name in TRAINED if METHODS[name].allows_parts(workers, 1)]
    assert list(steps(allowed, TINY_VIT, "bfloat16", workers, counts=False)) == allowed


@pytest.mark.slow
@pytest.mark.parametrize(
    ("precision", "methods"),
    [
        ("bfloat16", ["car_ft", "carot"]),
        pytest.param("float32", ["ft", "car_ft", "flyp", "carot"], marks=pytest.mark.full),
    ],
)
def test_bytes_and_operations_of_a_step_are_those_of_the_forecast(precision: str, methods: list[str]) -> None:
    """CLIP's own weights need QuickGELU, with which 128 images take 1.9 GB more."""
    size = size_of("ViT-B-16", "openai")
    assert size is not None
    for method, found in steps(methods, "ViT-B-16-quickgelu", precision).items():
        card = METHODS[method]
        assert found["flop"] == pytest.approx(card.epoch_passes * IMAGES * size.flop, rel=0.15), method
        trained = size.with_text if card.trains_text else size
        assert found["bytes"] == pytest.approx(trained.training_bytes(IMAGES, precision), rel=0.2), method
