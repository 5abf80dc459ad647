"""What this project's loop costs over the loop that one would write by hand for the same cell."""

from __future__ import annotations

import math
import tempfile

import torch
import torch.nn.functional as F
from torchvision.transforms.v2 import InterpolationMode
from torchvision.transforms.v2 import functional as tv

from benchmarks.benches import EPOCHS, LR, icons, icons_cell
from benchmarks.measuring import Figure, interleaved, ratio
from carft.catalog.catalog import BUILT_IN
from carft.data.task import ImageSet
from carft.data.views import crop_box
from carft.models.network import Network
from carft.store.records import Store
from carft.training.context import CellContext
from carft.training.execution import Execution
from carft.training.run import run_cell

ROUNDS = 4


def measure() -> list[Figure]:
    """CPU seconds of a plain fine-tuning cell, records included, over those of the loop below."""
    bench = CellContext.of(icons_cell(), Execution(), catalog=BUILT_IN)
    icons()

    def ours() -> None:
        with tempfile.TemporaryDirectory() as results:
            run_cell(icons_cell(), Store(results), Execution())

    seconds = interleaved({"ours": ours, "bare": lambda: bare(bench.task.train, bench.task.val)}, ROUNDS)
    note = f"{EPOCHS} epochs of {len(bench.task.train)} images, validation after each; records written"
    return [Figure("a cell over a bare PyTorch loop", ratio(seconds, "ours", "bare"), "<= 1.05", ROUNDS, note=note)]


def bare(train: ImageSet, val: ImageSet) -> None:
    """Fine-tuning by hand: the same network, crops, schedule and batches, with a validation after each epoch."""
    setting = icons()
    network = Network(setting.pretrained, setting.prompts)
    optimizer = torch.optim.AdamW(network.parameters(), lr=LR, weight_decay=0.1, eps=1e-8, fused=True)
    mean = torch.tensor(setting.pretrained.mean).view(3, 1, 1)
    std = torch.tensor(setting.pretrained.std).view(3, 1, 1)
    generator = torch.manual_seed(0)
    steps = EPOCHS * math.ceil(len(train) / 32)
    warm, step = round(0.1 * steps), 0
    size = [setting.pretrained.side] * 2
    assert isinstance(train.images, torch.Tensor) and isinstance(val.images, torch.Tensor)
    for _ in range(EPOCHS):
        for rows in torch.randperm(len(train), generator=generator).split(32):
            crops = []
            for image in train.images[rows]:
                box = crop_box(torch.rand(4, generator=generator).numpy(), image.shape[-2], image.shape[-1], 0.9)
                crops.append(tv.resized_crop(image, *box, size, InterpolationMode.BICUBIC, antialias=True))
            images = torch.stack(crops).contiguous(memory_format=torch.channels_last).float() / 255
            share = (step + 1) / warm if step < warm else (1 + math.cos(math.pi * (step - warm) / (steps - warm))) / 2
            optimizer.param_groups[0]["lr"] = LR * share
            optimizer.zero_grad()
            logits, _ = network((images - mean) / std)
            F.cross_entropy(logits, train.labels[rows]).backward()
            torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimizer.step()
            step += 1
        with torch.inference_mode():
            right = 0
            for images, labels in zip(val.images.split(64), val.labels.split(64), strict=True):
                shown = images.contiguous(memory_format=torch.channels_last).float() / 255
                right += int((network((shown - mean) / std)[0].argmax(1) == labels).sum())
