"""Views of images: random crops for training, centre crops for evaluation. Files are decoded ahead."""

import time
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from typing import Protocol

import numpy as np
import torch
from torchvision.transforms.v2 import InterpolationMode
from torchvision.transforms.v2 import functional as tv

from carft.core.heartbeat import heartbeat
from carft.data.decoding import decoders
from carft.data.image_files import Files

#: batches that are decoded before they are asked for
AHEAD = 3
#: images that a thread decodes one after another
CHUNK = 8
#: processes that decode for a GPU, and where it waits for images
PROCESSES, MOST_PROCESSES = 2, 4


class View(Protocol):
    """What is shown of an image."""

    @property
    def side(self) -> int:
        """Side of the view in pixels."""

    def __call__(self, image: torch.Tensor, row: int) -> torch.Tensor:
        """(3, side, side) uint8 of an image (3, H, W) uint8 and its row."""


def crop_box(draw: np.ndarray, height: int, width: int, least: float) -> tuple[int, int, int, int]:
    """Return a RandomResizedCrop box (top, left, height, width) for four uniform draws in [0, 1).

    Area share uniform in [least, 1]; aspect ratio log-uniform in that part of [3/4, 4/3] whose crop of this area fits
    the image, so no draw is rejected; no flip (easyrobust's WiSE-FT example crops 0.9-1.0 without flip). Where no
    such ratio fits, the ratio is the nearest one of [3/4, 4/3] and the crop as large as fits (as torchvision's
    fallback, but not always central).
    """
    share = least + (1 - least) * draw[0]
    shape = width / height
    low, high = np.log(max(3 / 4, share * shape)), np.log(min(4 / 3, shape / share))
    if low > high:
        ratio = min(max(shape, 3 / 4), 4 / 3)
        share = min(share, shape / ratio, ratio / shape)
    else:
        ratio = np.exp(low + (high - low) * draw[1])
    area = share * height * width
    box_width = int(np.clip(np.rint(np.sqrt(area * ratio)), 1, width))
    box_height = int(np.clip(np.rint(np.sqrt(area / ratio)), 1, height))
    top = int(np.floor(draw[2] * (height - box_height + 1)))
    left = int(np.floor(draw[3] * (width - box_width + 1)))
    return top, left, box_height, box_width


@dataclass(frozen=True)
class TrainView:
    """RandomResizedCrop without flip."""

    draws: np.ndarray
    """(N, 4) uniform draws in [0, 1), one row per image of the set."""
    side: int
    """Side of the view in pixels."""
    least: float
    """Smallest share of the area, in (0, 1]."""

    def __call__(self, image: torch.Tensor, row: int) -> torch.Tensor:
        box = crop_box(self.draws[row], image.shape[-2], image.shape[-1], self.least)
        size = [self.side, self.side]
        return tv.resized_crop(image, *box, size, interpolation=InterpolationMode.BICUBIC, antialias=True)


@dataclass(frozen=True)
class CentreView:
    """CLIP's evaluation view: shorter side to ``side``, bicubic, then the centre square."""

    side: int

    def __call__(self, image: torch.Tensor, row: int) -> torch.Tensor:
        if image.shape[-2:] == (self.side, self.side):
            return image
        image = tv.resize(image, [self.side], interpolation=InterpolationMode.BICUBIC, antialias=True)
        return tv.center_crop(image, [self.side, self.side])


def batches(
    images: torch.Tensor | Files, plan: Sequence[np.ndarray], view: View, pinned: bool = False, processes: int = 0
) -> Iterator[torch.Tensor]:
    """Yield the views (B, 3, side, side) uint8 of every array of rows in ``plan``, in order.

    Threads make them a few batches ahead: from files, and with ``pinned`` also from pixels in memory. Without it, on a
    CPU, the cores have cells to compute. pinned: in page-locked memory, from which a GPU copies while it computes.
    processes: that decode files in place of this one; 0 for none. Every batch sends a heartbeat.
    """
    made: Iterator[torch.Tensor]
    if isinstance(images, torch.Tensor) and not pinned:
        made = _in_turn(images, plan, view)
    elif processes and isinstance(images, Files):
        from carft.data.processes import from_processes

        made = from_processes(images, plan, view, pinned, processes)
    else:
        made = read_ahead(images, plan, view, pinned)
    for batch in made:
        heartbeat()
        yield batch


def _in_turn(images: torch.Tensor, plan: Sequence[np.ndarray], view: View) -> Iterator[torch.Tensor]:
    for rows in plan:
        yield torch.stack([view(images[int(row)], int(row)) for row in rows])


def read_ahead(
    images: torch.Tensor | Files, plan: Sequence[np.ndarray], view: View, pinned: bool
) -> Iterator[torch.Tensor]:
    def begin(rows: np.ndarray) -> tuple[torch.Tensor, list[Future[None]]]:
        with torch.inference_mode(False):  # other threads may write into it
            batch = torch.empty((len(rows), 3, view.side, view.side), dtype=torch.uint8, pin_memory=pinned)
        parts = []
        for start in range(0, len(rows), CHUNK):
            places = range(start, min(start + CHUNK, len(rows)))
            parts.append(pool.submit(fill_batch, batch, places, images, rows, view))
        return batch, parts

    with ThreadPoolExecutor(decoders()) as pool:
        begun = map(begin, plan)
        ahead = deque(islice(begun, AHEAD + 1))
        while ahead:
            batch, parts = ahead.popleft()
            for part in parts:
                part.result()
            yield batch
            ahead.extend(islice(begun, 1))


def fill_batch(batch: torch.Tensor, places: range, images: torch.Tensor | Files, rows: np.ndarray, view: View) -> None:
    """Write the views of some rows to their places in a batch."""
    for place in places:
        row = int(rows[place])
        batch[place] = view(images[row], row)


class Feed(Iterator[torch.Tensor]):
    """Views (B, 3, side, side) uint8 on a device, one batch for every array of rows in ``plan``.

    A GPU copies a batch on a stream of its own while it computes the batch before. processes: that decode files for
    it; a CPU decodes in threads.
    """

    def __init__(
        self,
        images: torch.Tensor | Files,
        plan: Sequence[np.ndarray],
        view: View,
        device: torch.device,
        processes: int = PROCESSES,
    ) -> None:
        self.device = device
        on_gpu = device.type == "cuda"
        self.made = batches(images, plan, view, on_gpu, on_gpu * min(processes, decoders()))
        self.stream = torch.cuda.Stream(device) if on_gpu else None
        self.waited_s = 0.0
        """Seconds in which the device had nothing to do because a batch was not ready. On a GPU an upper bound: it
        may have run out of work after the wait began."""

    def __next__(self) -> torch.Tensor:
        started = time.perf_counter()
        batch = next(self.made)
        if self.stream is None:
            self.waited_s += time.perf_counter() - started
            return batch
        computing = torch.cuda.current_stream(self.device)
        if computing.query():
            self.waited_s += time.perf_counter() - started
        with torch.cuda.stream(self.stream):
            copied = batch.to(self.device, non_blocking=True)
        computing.wait_stream(self.stream)
        copied.record_stream(computing)
        return copied


def to_device(values: torch.Tensor, device: torch.device) -> torch.Tensor:
    """A small tensor of the host on the device; neither waits for the other."""
    if device.type == "cuda":
        values = values.pin_memory()
    return values.to(device, non_blocking=True)
