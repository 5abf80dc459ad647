"""ViT-B-16 in bfloat16 from JPEG files on 1..N GPUs, as a sweep trains it: python -m benchmarks.gpu

The real ``compute``: kernels as a record has them, decoding, transfer, DistributedDataParallel, validation. MFU (model
FLOPs utilisation) counts 2 FLOPs a multiply-add and a backward pass as twice the forward pass; the pretrained model's
forward pass of a cold CAR-FT step counts too. A bare loop on a batch that is on the card already stands beside it.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import torch
import torch.distributed as dist
import torch.multiprocessing
import torch.nn.functional as F

from benchmarks.benches import image_set
from benchmarks.measuring import Figure, interleaved
from benchmarks.photos import photos
from carft.catalog.catalog import BUILT_IN
from carft.catalog.resolve import specify
from carft.config.cell import Cell, Training
from carft.core.machine import cores, gpu_card
from carft.data.image_files import Files
from carft.data.task import ImageSet, Task
from carft.models.availability import size_of
from carft.models.clip import load_pretrained
from carft.models.network import Network, Prompts, autocast
from carft.training.context import CellContext
from carft.training.execution import Execution
from carft.training.run import compute

HYPERPARAMETERS = {"ft": {"lr": 1e-5}, "car_ft": {"lr": 1e-5, "kl_weight": 1.0}}
#: epochs of a training; the first is not timed
EPOCHS = 3
#: name of a training -> method, forward passes that its step is worth
KINDS = {"FT": ("ft", 3), "CAR-FT, cold": ("car_ft", 4), "CAR-FT, warm": ("car_ft", 3)}
NO_GPU = "not run: no GPU"


@dataclass(frozen=True)
class Setting:
    """What is trained, and where."""

    device: str = "cuda"
    model: str = "ViT-B-16"
    precision: str = "bfloat16"
    task: str = "cifar100"
    """Its class names and prompts make the heads."""
    batch: int = 512
    """Images of a global batch."""
    steps: int = 20
    """Steps of an epoch."""
    files: int = 2048
    """JPEG files that the images of an epoch are read from, again and again."""

    @property
    def title(self) -> str:
        """What is measured, for the name of a figure."""
        return f"{self.model}, {self.precision}, JPEG files"


@dataclass(frozen=True)
class Timed:
    """A training that was timed."""

    rate: float
    """Images per second of all workers, the first epoch left out."""
    wait: float
    """Share of the time of all epochs in which the device waited for images, in [0, 1]."""


def measure() -> list[Figure]:
    """FT, CAR-FT with and without cached features, evaluation, a bare loop, and all GPUs against one."""
    if not torch.cuda.is_available():
        return [Figure("MFU of FT (ViT-B-16, bfloat16, JPEG files)", None, ">= 0.4", 0, "share of peak", NO_GPU)]
    return measured(Setting(), torch.cuda.device_count())


def measured(setting: Setting, gpus: int = 1) -> list[Figure]:
    """The figures of a setting. gpus: workers of the widest training."""
    with tempfile.TemporaryDirectory() as scratch:
        folder, cache = Path(scratch), Path(scratch) / "cache"
        photos(folder, setting.files)
        found = {name: _trained(setting, method, folder, cache) for name, (method, _) in KINDS.items()}
        wide = _trained(replace(setting, batch=gpus * setting.batch), "ft", folder, None, gpus) if gpus > 1 else None
        evaluated, bare = _evaluation_rate(setting, folder), _bare_rate(setting)
    rates = {name: timed.rate for name, timed in found.items()}
    ratios = {
        "bare loop with images on the device over FT": (bare / rates["FT"], "<= 1.1"),
        "FT over CAR-FT, warm": (rates["FT"] / rates["CAR-FT, warm"], "<= 1.03"),
        "FT over CAR-FT, cold": (rates["FT"] / rates["CAR-FT, cold"], "<= 1.35"),
    }
    if wide is not None:
        ratios[f"{gpus} GPUs over one, {setting.batch} images each"] = wide.rate / rates["FT"], f">= {0.9 * gpus:g}"
    throughput = {**rates, "evaluation": evaluated, "a bare loop": bare}
    return [
        *(_figure(setting, f"images per second of {k}", rate, None, "images/s") for k, rate in throughput.items()),
        *(utilisation(setting, name, rates[name] * passes) for name, (_, passes) in KINDS.items()),
        _figure(setting, "data wait of FT", found["FT"].wait, "<= 0.05", "share of time", "an upper bound on a GPU"),
        *(_figure(setting, f"throughput of {k}", value, target, "x") for k, (value, target) in ratios.items()),
    ]


def _figure(setting: Setting, name: str, value: float | None, target: str | None, unit: str, note: str = "") -> Figure:
    return Figure(f"{name} ({setting.title})", value, target, setting.steps, unit, note)


def utilisation(setting: Setting, name: str, passes: float) -> Figure:
    """passes: forward passes of an image per second that training is worth."""
    device = torch.cuda.get_device_name() if setting.device == "cuda" else setting.device
    share, note = None, f"the peak of {device} is not known here"
    card, size = gpu_card(device), size_of(setting.model)
    if card is not None and size is not None:
        peak = card.peak(setting.precision)
        share, note = passes * size.flop / peak, f"{device}, {peak / 1e12:.0f} TFLOP/s"
    return _figure(setting, f"MFU of {name}", share, ">= 0.4", "share of peak", note)


def _trained(setting: Setting, method: str, folder: Path, cache: Path | None, workers: int = 1) -> Timed:
    given = (setting, method, folder, cache, workers)
    if workers == 1:
        return _work(0, *given)
    torch.multiprocessing.spawn(_work, given, nprocs=workers)
    return Timed(**json.loads((folder / "timed.json").read_text(encoding="utf-8")))


def _work(rank: int, setting: Setting, method: str, folder: Path, cache: Path | None, workers: int) -> Timed:
    """Train on one of the workers, as a sweep does."""
    if workers > 1:
        backend = "nccl" if setting.device == "cuda" else "gloo"
        if setting.device == "cuda":
            torch.cuda.set_device(rank)
        dist.init_process_group(backend, init_method=f"file://{folder}/rendezvous", rank=rank, world_size=workers)
    execution = Execution(
        setting.device, workers, feature_cache=cache and str(cache), decoders=max(1, cores() // workers)
    )
    cell, context = _opened(setting, method, folder, execution)
    ends: list[float] = []
    started = time.perf_counter()
    computed = compute(cell, context, log=lambda _: ends.append(time.perf_counter()))
    images = (EPOCHS - 1) * setting.steps * setting.batch
    timed = Timed(images / (ends[-1] - ends[0]), computed.durations["data_wait"] / (ends[-1] - started))
    if workers > 1:
        dist.destroy_process_group()
        if rank == 0:
            (folder / "timed.json").write_text(json.dumps(vars(timed)), encoding="utf-8")
    return timed


def _opened(setting: Setting, method: str, folder: Path, execution: Execution) -> tuple[Cell, CellContext]:
    """A cell and what it is computed with: photos in place of the task's images."""
    execution.prepare()
    training = Training(epochs=EPOCHS, batch_size=setting.batch)
    cell = specify(
        setting.task,
        method,
        HYPERPARAMETERS[method],
        0,
        training,
        None,
        setting.model,
        "random",
        precision=setting.precision,
    )
    pretrained = load_pretrained(setting.model, "random")
    pretrained.clip.to(setting.device)
    task = Task(setting.task, _photos(setting, folder, setting.steps * setting.batch), _photos(setting, folder, 8), {})
    chosen = BUILT_IN.card(setting.task)
    return cell, CellContext(task, pretrained, Prompts.of(pretrained, chosen), chosen, execution, catalog=BUILT_IN)


def _photos(setting: Setting, folder: Path, count: int) -> ImageSet:
    return image_set(Files([folder / f"{number % setting.files}.jpg" for number in range(count)]), count)


def _evaluation_rate(setting: Setting, folder: Path) -> float:
    """Images per second of a validation, of two the second."""
    cell, context = _opened(setting, "ft", folder, Execution(setting.device))
    network, images = context.network(), _photos(setting, folder, setting.steps * setting.batch)
    return len(images) / _second(lambda: context.predict(cell, network, images))


def _bare_rate(setting: Setting) -> float:
    """Images per second of updates by hand on one batch that is on the device, without deterministic kernels."""
    torch.use_deterministic_algorithms(False)
    pretrained = load_pretrained(setting.model, "random")
    prompts = Prompts.of(pretrained, BUILT_IN.card(setting.task))
    network = Network(pretrained, prompts).to(setting.device)
    shape = (setting.batch, 3, pretrained.side, pretrained.side)
    pixels = torch.randint(0, 256, shape, dtype=torch.uint8, device=setting.device)
    labels = torch.arange(setting.batch, device=setting.device) % len(prompts.classes)
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-5, fused=True)

    def updates() -> None:
        for _ in range(setting.steps):
            optimizer.zero_grad()
            with autocast(setting.device, setting.precision):
                logits, _ = network(pretrained.normalise(pixels))
            F.cross_entropy(logits, labels).backward()
            torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimizer.step()
        if setting.device == "cuda":
            torch.cuda.synchronize()

    seconds = _second(updates)
    Execution(setting.device).prepare()
    return setting.steps * setting.batch / seconds


def _second(run: Callable[[], object]) -> float:
    """Wall seconds of the second of two rounds."""
    return interleaved({"": run}, 1, time.perf_counter)[""][0]


if __name__ == "__main__":
    for figure in measure():
        print(figure.as_dict())
