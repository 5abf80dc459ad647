"""Views of images: random crops for training, centre crops for evaluation. Files are decoded ahead, in threads."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from torchvision.transforms.v2 import InterpolationMode
from torchvision.transforms.v2 import functional as tv

from carft.core.heartbeat import heartbeat
from carft.data.decoding import DECODERS
from carft.data.files import Files

#: batches that are decoded before they are asked for
AHEAD = 3

View = Callable[[torch.Tensor, int], torch.Tensor]  # (3, H, W) uint8 and its row -> (3, side, side) uint8


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


def batches(images: torch.Tensor | Files, plan: Sequence[np.ndarray], view: View) -> Iterator[torch.Tensor]:
    """Yield the views (B, 3, side, side) uint8 of every array of rows in ``plan``, in order.

    Files are decoded by threads, a few batches ahead. Every batch sends a heartbeat.
    """
    for batch in _viewed(images, plan, view):
        heartbeat()
        yield batch


def _viewed(images: torch.Tensor | Files, plan: Sequence[np.ndarray], view: View) -> Iterator[torch.Tensor]:
    if isinstance(images, torch.Tensor):
        for rows in plan:
            yield torch.stack([view(images[int(row)], int(row)) for row in rows])
        return
    with ThreadPoolExecutor(DECODERS) as pool:
        ahead: deque = deque()
        for rows in plan:
            ahead.append([pool.submit(lambda r: view(images[r], r), int(row)) for row in rows])
            if len(ahead) > AHEAD:
                yield torch.stack([future.result() for future in ahead.popleft()])
        while ahead:
            yield torch.stack([future.result() for future in ahead.popleft()])
