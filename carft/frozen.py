"""The pretrained model's features of augmented images: what CAR-FT and its kin compare the network with.

The pretrained model never changes, and the augmentation of an image is a function of (seed, epoch, index) alone. So
these features are the same for every trial, method, reading and set of templates of a seed: they are computed once
and kept on disk.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import torch
import torch.nn.functional as F

from carft.models import Pretrained

GIB = 2**30
#: after this long the part file of a writer that died is litter
LITTER_SECONDS = 24 * 3600


@dataclass(frozen=True)
class FeatureStore:
    """A folder of kept features, one file per (key, epoch, worker).

    limit: bytes; before a file is added the least recently used ones are removed until it fits. A file is written
    beside its place and renamed, so that concurrent writers of one entry, which write the same bytes, do no harm. Its
    checksum stands in its name: a torn or changed file is not found to be what it says, and is computed again.
    """

    folder: Path
    limit: int = 10 * GIB

    def read(self, entry: str, rows: int, width: int, dtype: np.dtype) -> np.ndarray | None:
        """The features (rows, width) of an entry, memory-mapped; None when there is no whole file of them."""
        for path in self.folder.glob(f"{entry}-*.npy"):
            try:
                values = np.load(path, mmap_mode="r", allow_pickle=False)
                os.utime(path)  # used now
            except (OSError, ValueError):
                continue
            fits = values.shape == (rows, width) and values.dtype == dtype
            if fits and path.name == f"{entry}-{_checksum(values)}.npy":
                return values
        return None

    def open(self, entry: str, rows: int, width: int, dtype: np.dtype) -> np.memmap:
        """A new file for the features of an entry, memory-mapped; it has no name yet that :meth:`read` looks for."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self._make_room(rows * width * dtype.itemsize)
        part = self.folder / f"{entry}.{os.getpid()}-{uuid4().hex[:8]}.part"
        return np.lib.format.open_memmap(part, mode="w+", dtype=dtype, shape=(rows, width))

    def commit(self, entry: str, values: np.memmap) -> None:
        """Give a filled file its name."""
        values.flush()
        path = Path(str(values.filename))
        path.replace(self.folder / f"{entry}-{_checksum(values)}.npy")

    def discard(self, values: np.memmap) -> None:
        """Remove a file that was not filled."""
        Path(str(values.filename)).unlink(missing_ok=True)

    def _make_room(self, wanted: int) -> None:
        now = time.time()
        files = []
        for path in self.folder.glob("*"):
            try:
                status = path.stat()
            except FileNotFoundError:
                continue  # another process made room
            if path.suffix == ".part" and now - status.st_mtime > LITTER_SECONDS:
                path.unlink(missing_ok=True)
            elif path.suffix == ".npy":
                files.append((status.st_mtime, status.st_size, path))
        kept = sum(size for _, size, _ in files)
        for _, size, path in sorted(files):
            if kept + wanted <= self.limit:
                break
            path.unlink(missing_ok=True)
            kept -= size


def _checksum(values: np.ndarray) -> str:
    return f"{zlib.crc32(np.ascontiguousarray(values).tobytes()):08x}"


def key_of(parts: Mapping[str, Any]) -> str:
    """20 hexadecimal digits of everything that decides the features of an augmented image."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:20]


class Frozen:
    """L2-normalised features of the pretrained model, from the store where they are there, else by a forward pass.

    What was computed is used as it is stored, so a first and a later run have the same bits. Without a store every
    batch that asks is computed. key: what decides the features besides the epoch.
    """

    def __init__(
        self,
        pretrained: Pretrained,
        precision: str,
        store: FeatureStore | None = None,
        key: str = "",
        dtype: str = "float32",
    ) -> None:
        self.pretrained = pretrained
        self.precision = precision
        self.store = store
        self.key = key
        self.dtype = np.dtype(dtype)
        self.begin_epoch(0, rows=0)

    def begin_epoch(self, epoch: int, rows: int) -> None:
        """Say which epoch's augmentation the next batches hold, and how many images this worker has in it."""
        self.rows = rows
        self.entry = f"{self.key}-{epoch}"
        self.known: np.ndarray | None = None
        self.fresh: np.memmap | None = None
        self.looked = False
        self.filled = 0

    def end_epoch(self) -> None:
        """Keep what the epoch computed, if it is whole."""
        if self.store is not None and self.fresh is not None:
            if self.filled == self.rows:
                self.store.commit(self.entry, self.fresh)
            else:
                self.store.discard(self.fresh)
        self.fresh = None

    def __call__(self, images: torch.Tensor, position: int) -> torch.Tensor:
        """(B, D) float32 of normalised images (B, 3, H, W), this worker's images from number ``position`` of the epoch
        on."""
        if self.store is None:
            return self.forward(images)
        span = slice(position, position + len(images))
        if not self.looked:
            self.looked = True
            self.known = self.store.read(self.entry, self.rows, self.pretrained.width, self.dtype)
        if self.known is not None:
            return torch.from_numpy(np.array(self.known[span], dtype=np.float32)).to(images.device)
        features = self.forward(images)
        if self.fresh is None:
            self.fresh = self.store.open(self.entry, self.rows, features.shape[1], self.dtype)
        self.fresh[span] = features.cpu().numpy()
        self.filled += len(images)
        if self.dtype == np.float32:
            return features
        return torch.from_numpy(np.array(self.fresh[span], dtype=np.float32)).to(images.device)

    @torch.no_grad()
    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """(B, D) float32 by a forward pass of the pretrained model."""
        with torch.autocast(images.device.type, torch.bfloat16, enabled=self.precision == "bfloat16"):
            features = self.pretrained.clip.visual(images)
        return F.normalize(features.float(), dim=-1)
