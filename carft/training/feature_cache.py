"""The pretrained model's features of augmented training images, cached on disk.

The pretrained model never changes, and the augmentation of an image is a function of (seed, epoch, index) alone. So
these features are the same for every trial, method, reading and template list of a seed, and are computed once. Which
epochs are stored is decided by :class:`carft.core.array_cache.ArrayCache`: those that fit stay as long as cells read
them. Seeds of confirm cells are not stored, since each is used by one cell of a method.
"""

import hashlib
from contextlib import suppress

import numpy as np
import torch
import torch.nn.functional as F
import torchvision
from PIL import __version__ as pillow_version

from carft import NUMERICS
from carft.config.cell import Cell
from carft.core.array_cache import ArrayCache, Draft, key_of
from carft.data.image_files import jpeg_decoder
from carft.data.views import to_device
from carft.models.network import autocast
from carft.training.compiling import compile_shapes
from carft.training.context import CellContext
from carft.training.distributed import WorkerRank
from carft.training.execution import FEATURE_SHARE, processor_facts

FLOAT = np.dtype("float32")
#: batches whose features stay on the device before they are written, since copying them waits for the device
WRITE_EVERY = 50


class FeatureCache:
    """L2-normalised features of the pretrained model, read from the execution's cache, or computed by a forward pass.

    The image encoder goes through torch.compile where the trained one does; otherwise the KL term at the first step
    would measure the compiler. A batch that was just computed is used as it is stored, so a first and a later run have
    the same bits. Without a cache every batch is computed. All cells of one seed and training recipe share the files.
    """

    def __init__(self, cell: Cell, context: CellContext) -> None:
        pretrained = context.pretrained
        execution = context.execution
        worker = WorkerRank.current()
        visual = pretrained.clip.visual
        self.visual = compile_shapes(visual) if execution.compile else visual
        self.width = pretrained.width
        self.precision = cell.precision
        self.store = execution.cache
        self.writes = execution.feature_writes
        # since the training began or resumed: images whose features were needed, and those of them that were read
        self.images = self.read = 0
        names = hashlib.sha256("\n".join(context.task.train.names).encode()).hexdigest()
        data = {name: digest for name, digest in context.task.digests.items() if name != "attested"}
        depends_on = {
            "data": data,
            "decoded": [jpeg_decoder(), torchvision.__version__, pillow_version],
            "weights": [cell.model, pretrained.digest, pretrained.configuration],
            "task": [cell.task, cell.data_version, names],
            "images": [cell.seed, pretrained.side, cell.training.as_dict()],
            "parts": [worker.rank, worker.workers, execution.accumulation],
            "numbers": [cell.precision, execution.compile],
            "computed": [execution.device, processor_facts(execution.device), torch.__version__, NUMERICS],
        }
        self.key = key_of(depends_on)  # everything but the epoch
        self.begin_epoch(0, rows=0)

    @property
    def use(self) -> dict[str, float]:
        """The entry ``feature_cache`` of a record's provenance; hit_rate is in [0, 1]. Empty without any use."""
        if not self.images:
            return {}
        return {"images": self.images, "hit_rate": self.read / self.images}

    def begin_epoch(self, epoch: int, rows: int) -> None:
        """Start an epoch. rows: how many images this worker computes in the whole epoch."""
        self.rows = rows
        self.entry = f"{self.key}-{epoch}"
        self.stored: np.ndarray | None = None
        self.draft: Draft | None = None
        self.unwritten: list[tuple[int, torch.Tensor]] = []
        self.filled = 0
        self.is_open = False

    def end_epoch(self) -> None:
        """Store the features of the epoch, if all of them were computed and there is space for them."""
        if self.store is not None and self.draft is not None:
            self._write_features(self.draft)
            with suppress(OSError):  # the folder went away: a later cell computes the features again
                if self.filled == self.rows:
                    self.store.commit(self.draft)
                else:
                    self.store.discard(self.draft)
        self.draft = None

    def features(self, images: torch.Tensor, position: int) -> torch.Tensor:
        """(B, D) float32 of normalised images (B, 3, H, W). position: how many images this worker computes before them
        in the epoch. Call it at most once per batch."""
        if self.store is None:
            return self.forward(images)
        if not self.is_open:
            self._open(self.store, position)
        self.images += len(images)
        if self.stored is not None:
            self.read += len(images)
            values = np.array(self.stored[position : position + len(images)])
            return to_device(torch.from_numpy(values), images.device)
        features = self.forward(images)
        if self.draft is not None:
            self.unwritten.append((position, features))
            if len(self.unwritten) == WRITE_EVERY:
                self._write_features(self.draft)
        return features

    def _write_features(self, draft: Draft) -> None:
        for position, features in self.unwritten:
            draft.values[position : position + len(features)] = features.cpu().numpy()
            self.filled += len(features)
        self.unwritten = []

    def _open(self, store: ArrayCache, position: int) -> None:
        """Find the epoch in the store, or begin to write it. An epoch that is resumed in its middle is not written."""
        self.is_open = True
        found = store.read(self.entry, self.rows, self.width, FLOAT)
        if found is not None:
            self.stored = found.values
        elif self.writes and position == 0:
            try:
                self.draft = store.open(self.entry, self.rows, self.width, FLOAT, FEATURE_SHARE)
            except OSError:  # the folder cannot be written or the disk is full: features are read and computed
                self.writes = False

    @torch.no_grad()
    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """(B, D) float32 by a forward pass of the pretrained model."""
        with autocast(images.device.type, self.precision):
            features = self.visual(images)
        return F.normalize(features.float(), dim=-1)
