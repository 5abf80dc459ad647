"""The benchmark of GPUs runs on a CPU too, at a size of its own, so that it is known to work before a card is there."""

from __future__ import annotations

import pytest
import torch

from benchmarks import gpu
from benchmarks.gpu import Setting
from carft.core.machine import GpuCard

TINY = Setting("cpu", "icons-resnet", "float32", "icons-3/mix-7", batch=4, steps=2, files=8)
PATTERNS = ("images per second of", "data wait", "MFU of", "throughput of")


@pytest.mark.slow
def test_the_benchmark_trains_and_evaluates_from_files(monkeypatch: pytest.MonkeyPatch) -> None:
    decoded, trained = [], []
    decode, compute = gpu.Files.__getitem__, gpu.compute
    monkeypatch.setattr(gpu.Files, "__getitem__", lambda self, row: (decoded.append(row), decode(self, row))[1])
    monkeypatch.setattr(
        gpu, "compute", lambda *given, **more: (trained.append(given[0].method), compute(*given, **more))[1]
    )
    figures = gpu.measured(TINY)
    assert trained == ["ft", "car_ft", "car_ft"] and len(decoded) >= 3 * gpu.EPOCHS * TINY.batch * TINY.steps
    assert all(figure.name.startswith(PATTERNS) and TINY.title in figure.name for figure in figures)
    assert all(figure.measured and figure.measured > 0 for figure in figures if not figure.name.startswith("MFU"))
    assert [figure.note for figure in figures if figure.name.startswith("MFU")] == [
        "the peak of cpu is not known here"
    ] * 3
    assert torch.are_deterministic_algorithms_enabled()


def test_utilisation_counts_the_products_of_attention(monkeypatch: pytest.MonkeyPatch) -> None:
    """In evaluation, PyTorch's fast path of attention hides them from its counter of operations."""
    monkeypatch.setattr(gpu, "gpu_card", lambda name: GpuCard(1e12, 1e12, 1e12, "of this test"))
    tokens, width, layers, patch = 50, 768, 12, 32
    layer = 2 * tokens * width * (4 * width + 2 * 4 * width) + 2 * 2 * tokens * tokens * width
    expected = layers * layer + 2 * (tokens - 1) * 3 * patch**2 * width + 2 * width * 512
    figure = gpu.utilisation(Setting("cpu", "ViT-B-32"), "FT", passes=3)
    assert figure.measured == pytest.approx(3 * expected / 1e12, rel=1e-3)
