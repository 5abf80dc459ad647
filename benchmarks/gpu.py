"""ViT-B-16 in bfloat16 on one GPU, data in memory, without Ray: python -m benchmarks.gpu

Images per second and MFU (model FLOPs utilisation) of updates of plain fine-tuning and CAR-FT. A forward pass counts
2 FLOPs a multiply-add, a backward pass twice the forward pass; the pretrained model's forward pass of a cold CAR-FT
step counts too.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.measuring import Figure
from carft.data.catalog import card
from carft.methods.ft import Batch
from carft.models.clip import Pretrained, load_pretrained
from carft.models.network import Network, Prompts
from carft.spec.registry import method_card
from carft.spec.resolve import specify
from carft.training.execution import Execution
from carft.training.feature_cache import FeatureCache

BATCH = 512
STEPS = 20
TASK = "cifar100"
#: dense bfloat16 FLOP/s of a card, by a part of its name
PEAKS = {"H100": 989e12, "H200": 989e12, "A100": 312e12, "L40S": 362e12, "L4": 121e12, "4090": 165e12}
HYPERPARAMETERS = {"ft": {"lr": 1e-5}, "car_ft": {"lr": 1e-5, "kl_weight": 1.0}}


def measure() -> list[Figure]:
    """FT, CAR-FT with kept features, CAR-FT that computes them."""
    if not torch.cuda.is_available():
        return [
            Figure("MFU of FT (ViT-B-16, bfloat16)", None, ">= 0.4", 0, unit="share of peak", note="not run: no GPU")
        ]
    Execution(device="cuda").prepare()
    torch.use_deterministic_algorithms(False)
    pretrained = load_pretrained("ViT-B-16", "random")
    pretrained.clip.to("cuda")
    images = torch.randint(0, 256, (BATCH, 3, pretrained.side, pretrained.side), dtype=torch.uint8, device="cuda")
    forward = _forward_flops(pretrained)
    kinds = {"FT": ("ft", False, 3), "CAR-FT, warm": ("car_ft", True, 3), "CAR-FT, cold": ("car_ft", False, 4)}
    figures = []
    for name, (method, warm, passes) in kinds.items():
        rate = BATCH / _seconds(_update(method, warm, pretrained, images))
        figures.append(Figure(f"images per second of {name} (ViT-B-16, bfloat16)", rate, None, STEPS, unit="images/s"))
        figures.append(_utilisation(name, rate * forward * passes))
    return figures


def _utilisation(name: str, flops: float) -> Figure:
    device = torch.cuda.get_device_name()
    peak = next((peak for part, peak in PEAKS.items() if part in device), None)
    title = f"MFU of {name} (ViT-B-16, bfloat16)"
    if peak is None:
        return Figure(title, None, ">= 0.4", 0, unit="share of peak", note=f"the peak of {device} is not known here")
    return Figure(
        title, flops / peak, ">= 0.4", STEPS, unit="share of peak", note=f"{device}, {peak / 1e12:.0f} TFLOP/s"
    )


def _forward_flops(pretrained: Pretrained) -> float:
    """FLOPs of the image encoder's forward pass of one image."""
    image = torch.zeros((1, 3, pretrained.side, pretrained.side), device="cuda")
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        pretrained.clip.visual(image)
    return float(counter.get_total_flops())


def _update(method: str, warm: bool, pretrained: Pretrained, pixels: torch.Tensor) -> Callable[[], None]:
    """One update on one batch, as :mod:`carft.training.loop` makes it."""
    cell = specify(TASK, method, HYPERPARAMETERS[method], precision="bfloat16")
    prompts = Prompts.of(pretrained, card(TASK))
    network = Network.of(pretrained, prompts).to("cuda")
    loss = method_card(method).load()(cell, pretrained, prompts)
    labels = torch.arange(len(pixels), device="cuda") % len(prompts.classes)
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-5, fused=True)
    frozen = FeatureCache(pretrained, "bfloat16")
    kept = frozen.forward(pretrained.normalise(pixels))

    def update() -> None:
        optimizer.zero_grad()
        images = pretrained.normalise(pixels)
        with torch.autocast("cuda", torch.bfloat16):
            logits, features = network(images)
        known = (lambda: kept) if warm else (lambda: frozen.forward(images))
        value, _ = loss.loss(Batch(network, images, labels, logits, features, known))
        value.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()

    return update


def _seconds(update: Callable[[], None]) -> float:
    """Median seconds of an update, after five that are not counted."""
    taken = []
    for number in range(STEPS + 5):
        torch.cuda.synchronize()
        started = time.perf_counter()
        update()
        torch.cuda.synchronize()
        if number >= 5:
            taken.append(time.perf_counter() - started)
    return statistics.median(taken)


if __name__ == "__main__":
    for figure in measure():
        print(figure.as_dict())
