"""What a step takes in bfloat16, beside one in float32."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F

from benchmarks.benches import Setting, icons, vit
from benchmarks.measuring import Figure, interleaved, ratio


def measure() -> list[Figure]:
    """CPU seconds in bfloat16 over those in float32."""
    figures = []
    for model, setting, batch, rounds in (("icons model", icons(), 32, 7), ("ViT-B-32", vit(), 4, 3)):
        runs = {"bfloat16": _step(setting, batch, True), "float32": _step(setting, batch, False)}
        found = ratio(interleaved(runs, rounds), "bfloat16", "float32")
        figures.append(Figure(f"bfloat16 ({model})", found, None, rounds))
    return figures


def _step(setting: Setting, batch: int, bfloat16: bool) -> Callable[[], None]:
    """Three updates of plain fine-tuning of a network of its own."""
    assert isinstance(setting.images.images, torch.Tensor)
    images = setting.pretrained.normalise(setting.images.images[:batch])
    network, labels = setting.network(), setting.images.labels[:batch]
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-6, fused=True)

    def run() -> None:
        for _ in range(3):
            optimizer.zero_grad()
            with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
                logits, _ = network(images)
            F.cross_entropy(logits, labels).backward()
            torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimizer.step()

    return run
