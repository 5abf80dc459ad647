"""The way of photos from JPEG files to batches, against torch's DataLoader doing the same work."""

from __future__ import annotations

import multiprocessing
import os
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms.v2 import InterpolationMode
from torchvision.transforms.v2 import functional as tv

from benchmarks.measuring import Figure, interleaved, ratio
from benchmarks.photos import photos
from carft.data.decoding import set_decoders
from carft.data.image_files import Files, jpeg_decoder
from carft.data.reference_views import DRAWS, ReferenceTrainView
from carft.data.views import TrainView, View, batches, crop_box
from carft.training.schedule import draws

PHOTOS, BATCH, SIDE, ROUNDS = 128, 16, 224, 3


class Photos(Dataset):
    """The photos and crops of a training, as a torch data set by hand: Pillow, then torchvision's transforms."""

    def __init__(self, files: Files, view: TrainView) -> None:
        self.files, self.view = files, view

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, row: int) -> torch.Tensor:
        with Image.open(self.files.paths[row]) as image:
            pixels = tv.pil_to_tensor(image.convert("RGB"))
        box = crop_box(self.view.draws[row], pixels.shape[-2], pixels.shape[-1], self.view.least)
        return tv.resized_crop(pixels, *box, [SIDE, SIDE], InterpolationMode.BICUBIC, antialias=True)


def measure() -> list[Figure]:
    """Images per second of one core, those of the DataLoader, and two threads against two processes."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as scratch:
        files = photos(Path(scratch), PHOTOS)
        view = TrainView(draws(0, 0, PHOTOS), SIDE, 0.9)
        plan = [np.arange(first, first + BATCH) for first in range(0, PHOTOS, BATCH)]
        loader = DataLoader(Photos(files, view), BATCH)
        if not all(torch.equal(*pair) for pair in zip(batches(files, plan, view), loader, strict=True)):
            raise RuntimeError("the two ways give different pixels")
        runs: dict[str, Callable[[], object]] = {
            "ours": lambda: list(batches(files, plan, view)),
            "loader": lambda: list(loader),
            **{name: _reader(files, plan, name) for name in ("clipood", "domainbed")},
        }
        seconds = interleaved(runs, ROUNDS)
        rate = PHOTOS / min(seconds["ours"])
        note = f"JPEG of 500 x 375, decoded by {jpeg_decoder()}; CPU time"
        figures = [
            Figure("images per second of a core over those of a DataLoader", 1 / ratio(seconds, "ours", "loader"),
                   ">= 1.15", ROUNDS, note="equal pixels; Pillow and torchvision's transforms; CPU time"),
            Figure("images per second of a core, decoded and cropped", rate, None, ROUNDS, unit="images/s", note=note),
            *(Figure(f"CPU time of an image with the augmentation {name} over that with crop",
                     ratio(seconds, name, "ours"), None, ROUNDS, note="decoding included; `plan` counts with it")
              for name in ("clipood", "domainbed")),
        ]  # fmt: skip
        jittered = ReferenceTrainView(draws(0, 0, PHOTOS, DRAWS), SIDE, colour=True)
        return [
            *figures,
            _threads_against_processes(files, view, plan, "crop", ">= 0.8"),
            _threads_against_processes(files, jittered, plan, "domainbed", None),
        ]


def _reader(files: Files, plan: list[np.ndarray], augmentation: str) -> Callable[[], object]:
    view = ReferenceTrainView(draws(0, 0, PHOTOS, DRAWS), SIDE, colour=augmentation == "domainbed")
    return lambda: list(batches(files, plan, view))


def _threads_against_processes(
    files: Files, view: View, plan: list[np.ndarray], augmentation: str, target: str | None
) -> Figure:
    """Throughput of two decoding threads over that of two processes with one each, on the same cores."""
    count = 2
    with ProcessPoolExecutor(count, multiprocessing.get_context("spawn")) as pool:
        shares = [plan[first::count] for first in range(count)]

        def processes() -> None:
            list(pool.map(_decode, [files] * count, [view] * count, shares))

        def threads() -> None:
            set_decoders(count)
            list(batches(files, plan, view))

        seconds = interleaved({"threads": threads, "processes": processes}, ROUNDS, time.perf_counter)
    set_decoders(0)
    value = 1 / ratio(seconds, "threads", "processes")
    note = f"wall clock, in turn, so that other load slows both; {os.cpu_count()} cores"
    name = f"throughput of {count} decoding threads over {count} processes"
    name += f" with the augmentation {augmentation}" * (augmentation != "crop")
    return Figure(name, value, target, ROUNDS, note=note)


def _decode(files: Files, view: View, plan: list[np.ndarray]) -> None:
    torch.set_num_threads(1)
    set_decoders(1)
    for _ in batches(files, plan, view):
        pass
