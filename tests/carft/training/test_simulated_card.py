"""A step of each method on a card that torch simulates: where tensors are, how many bytes and operations they take."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

import pytest

from carft.config.registry import METHODS
from carft.models.availability import size_of
from tests.support.cards import TINY_VIT
from tests.support.helpers import ROOT, environment

TRAINED = [name for name, card in METHODS.items() if card.epoch_passes]
IMAGES = 128


#: precision of the forecast -> methods
FORECAST = {"bfloat16": ("car_ft", "carot"), "float32": ("ft", "car_ft", "flyp", "carot")}
Steps = dict[str, dict[str, float]]


def step_of_every_method(workers: int) -> dict[str, Any]:
    allowed = [name for name in TRAINED if METHODS[name].allows_parts(workers, 1)]
    return asked(allowed, TINY_VIT, "bfloat16", workers, counts=False)


def counted_steps(precision: str) -> dict[str, Any]:
    """CLIP's own weights need QuickGELU, with which 128 images take 1.9 GB more."""
    return asked(FORECAST[precision], "ViT-B-16-quickgelu", precision)


def asked(methods: Sequence[str], model: str, precision: str, workers: int = 1, counts: bool = True) -> dict[str, Any]:
    """A step of each method of a worker with :data:`IMAGES` images."""
    given = {"methods": methods, "model": model, "precision": precision, "images": IMAGES, "workers": workers}
    return {**given, "counts": counts}


def steps(*wanted: dict[str, Any]) -> list[Steps]:
    """For each wish, method -> ``bytes`` and ``flop`` of its step, if they are counted. It takes one process."""
    command = [sys.executable, "-m", "tests.support.simulated", json.dumps(wanted)]
    done = subprocess.run(command, cwd=ROOT, env=environment(), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-5000:]
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def quick() -> list[Steps]:
    """What the tests need that are not marked ``full``."""
    return steps(counted_steps("bfloat16"), step_of_every_method(8))


@pytest.mark.slow
@pytest.mark.parametrize("workers", [pytest.param(1, marks=pytest.mark.full), 8])
def test_a_step_of_every_method_leaves_its_tensors_on_the_card(workers: int, quick: list[Steps]) -> None:
    """A tensor of the host in a sum with one of the card is an error there, as on a GPU."""
    wish = step_of_every_method(workers)
    found = quick[1] if workers == 8 else steps(wish)[0]
    assert list(found) == wish["methods"]


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["bfloat16", pytest.param("float32", marks=pytest.mark.full)])
def test_bytes_and_operations_of_a_step_are_those_of_the_forecast(precision: str, quick: list[Steps]) -> None:
    size = size_of("ViT-B-16", "openai")
    assert size is not None
    found = quick[0] if precision == "bfloat16" else steps(counted_steps(precision))[0]
    assert tuple(found) == FORECAST[precision]
    for method, counted in found.items():
        card = METHODS[method]
        assert counted["flop"] == pytest.approx(card.epoch_passes * IMAGES * size.flop, rel=0.15), method
        trained = size.with_text if card.trains_text else size
        assert counted["bytes"] == pytest.approx(trained.training_bytes(IMAGES, precision), rel=0.2), method
