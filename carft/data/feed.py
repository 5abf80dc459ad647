"""Batches of views on the device that computes."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

import numpy as np
import torch

from carft.data.files import Files
from carft.data.views import View, batches


class Feed(Iterator[torch.Tensor]):
    """Views (B, 3, side, side) uint8 on a device, one batch for every array of rows in ``plan``.

    A GPU copies a batch on a stream of its own while it computes the batch before.
    """

    def __init__(
        self, images: torch.Tensor | Files, plan: Sequence[np.ndarray], view: View, device: torch.device
    ) -> None:
        self.device = device
        on_gpu = device.type == "cuda"
        self.made = batches(images, plan, view, pinned=on_gpu)
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
    return values.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else values
