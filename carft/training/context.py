"""What a cell is computed with: its task, the pretrained model, the frozen heads and the execution."""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cache, lru_cache
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np
import torch
import torchvision
from PIL import __version__ as pillow_version

from carft import NUMERICS, __version__
from carft.catalog.catalog import Catalog
from carft.config.cell import Cell, located
from carft.config.settings import ClassHead
from carft.core.array_cache import ArrayCache, key_of
from carft.core.errors import UserError
from carft.core.heartbeat import heartbeat
from carft.core.metrics import Predictions, merge_classes
from carft.data.card import Card
from carft.data.icons.world import BUILT_IN_WEIGHTS
from carft.data.image_files import Files, jpeg_decoder
from carft.data.indexing import statuses
from carft.data.reference_views import EVAL_VIEWS
from carft.data.task import ImageSet, Task
from carft.data.views import batches
from carft.models.clip import Pretrained, load_pretrained
from carft.models.heads import context_logits
from carft.models.network import Network, Prompts, forward, use_tf32
from carft.training.device import bit_variables
from carft.training.distributed import WorkerRank, gather_rows
from carft.training.execution import Execution, cpu_facts, hardware_facts

FLOAT, UINT8 = np.dtype("float32"), np.dtype("uint8")
#: share of the cache that the views of one set may take; the pretrained model's features save more for their size
VIEW_SHARE = 0.25
#: images of validation that are decoded at a time
DECODED = 64
#: no record holds these: folders of this machine, whose content digests identify, the use of the cache, and threads
#: that change no pixel
UNRECORDED = ("data", "feature_cache", "feature_cache_size", "feature_writes", "decoders")


@dataclass(frozen=True)
class CellContext:
    """What a cell is computed with."""

    task: Task
    """Training and validation images."""
    pretrained: Pretrained
    """The pretrained model, frozen, on the execution's device."""
    prompts: Prompts
    """Class head and context heads, frozen, on the same device."""
    card: Card
    """The task's card."""
    execution: Execution
    """Where and how the cell is computed."""
    catalog: Catalog
    """Knows the task and the method."""
    target_split: str = "all"
    """Images of a held-out domain that are evaluated, as of the cell."""
    _val_views: dict[str, ImageSet] = field(init=False, repr=False, compare=False, default_factory=dict)
    """Evaluation view -> the validation images with their views from the cache."""
    _pixels: dict[str, str] = field(init=False, repr=False, compare=False, default_factory=dict)
    """Held-out set -> digest of its pixels, of those that were opened."""

    @staticmethod
    def of(cell: Cell, execution: Execution, catalog: Catalog) -> CellContext:
        """Open the task and load the model; both stay in memory for the next cell of this process.

        Raises ``UserError`` when data are missing or have another version than the cell names.
        """
        chosen = catalog.card(cell.task)
        if chosen.version != cell.data_version:
            raise UserError(
                f"Cell {cell.id} was specified for data version {cell.data_version} of {cell.task}; "
                f"here it is {chosen.version}.",
                "Run the sweep again with this version.",
            )
        use_tf32(False)  # the heads are float32 in every cell
        catalog.require_present(cell.task, execution)  # before weights are downloaded
        weights = located(cell.model, cell.pretrained, catalog.weights)
        pretrained = load_pretrained(*weights)
        pretrained.clip.to(execution.device)
        heartbeat()
        prompts = prompts_of(*weights, chosen, cell.reading.context_templates, execution.device, execution.cache)
        heartbeat()
        opened = catalog.open(cell.task, execution, cell.holdout)
        heartbeat()
        use_tf32(cell.precision == "tf32")
        return CellContext(opened, pretrained, prompts, chosen, execution, catalog, cell.target_split)

    def network(self, kind: ClassHead = "trained", seed: int = 0) -> Network:
        """A trainable network at the start of training: zero-shot, unless its head is random."""
        return Network(self.pretrained, self.prompts, kind, seed)

    def predict(
        self, cell: Cell, network: Network, images: ImageSet, each_batch: Callable[[], None] = lambda: None
    ) -> Predictions:
        """Predictions of one network, as of :meth:`predict_each`."""
        return self.predict_each(cell, [network], images, each_batch)[0]

    @torch.inference_mode()
    def predict_each(
        self,
        cell: Cell,
        networks: Sequence[Network],
        images: ImageSet,
        each_batch: Callable[[], None] = lambda: None,
    ) -> list[Predictions]:
        """Class and context logits of every image under each network, at the cell's precision, in its evaluation view.

        Every image is decoded once, those of validation once a machine; each network has the bits that it has alone.
        Context logits are those of the known contexts at the pretrained scale, whatever the reading, so that all cells
        are measured in the same way. Several workers share the images; each returns the predictions of all images.
        each_batch: called after every batch; what it raises ends the evaluation.
        """
        model = self.pretrained
        known = self.prompts.known
        worker = WorkerRank.current()
        if images is self.task.val:
            views = self._val_views.get(cell.eval_view)
            if views is None:
                views = cached_views(images, self.card, cell.eval_view, model.side, self.execution.cache)
                if views is not images:  # else another process writes them now
                    self._val_views[cell.eval_view] = views
            images = views
        mine = np.arange(worker.rank, len(images), worker.workers)
        # a worker without images has no row
        logits = [[torch.zeros(0, len(self.prompts.classes))] for _ in networks]
        contexts = [[torch.zeros(0, len(known))] for _ in networks]
        for outputs in forward(networks, images, mine, model, cell.precision, cell.eval_view):
            each_batch()
            for number, (class_logits, features) in enumerate(outputs):
                logits[number].append(class_logits.cpu())  # a device may not hold those of all networks
                contexts[number].append(context_logits(features, known, model.scale, 1.0).float().cpu())

        def whole(rows: list[torch.Tensor]) -> np.ndarray:
            joined = torch.cat(rows)
            rows.clear()  # a set may take hundreds of MB, and those of other networks wait
            return gather_rows(joined.to(known.device), len(images)).cpu().numpy()

        predictions = []
        for own, of_contexts in zip(logits, contexts, strict=True):
            predictions.append(
                Predictions(
                    images=images.names,
                    groups=images.groups,
                    labels=images.labels.numpy(),
                    contexts=images.contexts.numpy(),
                    logits=merge_classes(whole(own), images.merged),
                    context_logits=whole(of_contexts),
                    subset=images.subset,
                )
            )
        return predictions

    def sealed(self) -> Mapping[str, ImageSet]:
        """Test set and suites, by set name. Only unsealing calls this."""
        sets = self.catalog.unseal(self.card.name, self.execution, self.target_split).sets()
        for name, images in sets.items():
            self._pixels[name] = images.digest
        return sets

    def every_set(self) -> Mapping[str, ImageSet]:
        """Validation, test set and suites, by set name. Only unsealing calls this."""
        return {"val": self.task.val, **self.sealed()}

    def provenance(self, held_out: str = "") -> dict[str, Any]:
        """The provenance of a record: versions, hardware, execution and data; with images from files their decoder.

        held_out: the set of an evaluation, whose pixels it names; by default those of training and validation.
        """
        recorded = dict(vars(self.execution))
        for name in UNRECORDED:
            recorded.pop(name)
        found = {
            "numerics": NUMERICS,
            "carft": __version__,
            "python": platform.python_version(),
            "packages": installed_packages(),
            "machine": hardware_facts(self.execution.device),
            "cpu": cpu_facts(),
            "execution": recorded,
            "heads": self.prompts.digest,
            "digests": {**self.task.digests, "weights": self.pretrained.digest},
        }
        if held_out:
            digests = {held_out: self._pixels.get(held_out, "")}
        else:
            val = next(iter(self._val_views.values()), self.task.val)
            digests = {"train": self.task.train.digest, "val": val.digest}
        pixels = {name: digest for name, digest in digests.items() if digest}
        if pixels:
            found["pixels"] = pixels
        variables = bit_variables()
        if variables:
            found["environment"] = variables
        if isinstance(self.task.train.images, Files):
            found["jpeg_decoder"] = jpeg_decoder()
        return found


@cache
def installed_packages() -> dict[str, str]:
    """Package -> version, of those that decide numbers or run cells."""
    versions = {}
    for name in ("torch", "torchvision", "open_clip_torch", "numpy", "pillow", "ray"):
        with suppress(PackageNotFoundError):
            versions[name] = version(name)
    return versions


@lru_cache(maxsize=32)
def prompts_of(model: str, pretrained: str, card: Card, bank: str, device: str, cache: ArrayCache | None) -> Prompts:
    """Class head and context heads, computed once per machine: other processes and sweeps read them from the cache.

    Built-in models are so small that each process computes them, which no changed file can reach.
    """
    loaded = load_pretrained(model, pretrained)
    if cache is None or (model, pretrained) in BUILT_IN_WEIGHTS:
        return Prompts.of(loaded, card, bank)
    templates = card.bank(bank)
    depends_on = {
        "weights": [loaded.digest, loaded.configuration],
        "model": model,
        "prompts": [card.classes, card.templates, templates, card.contexts],
        "computed": [device, torch.__version__, NUMERICS],
    }
    sizes = [len(card.classes), len(templates), len(card.contexts or templates)]

    def make() -> np.ndarray:
        made = Prompts.of(loaded, card, bank)
        return torch.cat([made.classes, made.contexts, made.known]).cpu().numpy()

    cached = cache.get(f"heads-{key_of(depends_on)}", sum(sizes), loaded.width, FLOAT, make)
    return Prompts(card, *torch.from_numpy(np.array(cached.values)).to(device).split(sizes))


def cached_views(images: ImageSet, card: Card, view: str, side: int, cache: ArrayCache | None) -> ImageSet:
    """The same set, with views (N, 3, side, side) uint8 that are mapped from the cache in place of files. Views that
    the cache lacks are written first. A sweep reads them after every epoch of every cell, and would decode files then.

    The set itself where nothing is gained: without a cache, for pixels in memory, for views that do not fit, and where
    another process writes them now. view: the ``eval_view`` of a cell. side: of the view, in pixels.
    """
    files = images.images
    count = len(images)
    width = 3 * side * side
    if cache is None or not isinstance(files, Files) or count * width > VIEW_SHARE * cache.limit:
        return images

    def fill(values: np.ndarray) -> None:
        plan = [np.arange(first, min(first + DECODED, count)) for first in range(0, count, DECODED)]
        for rows, batch in zip(plan, batches(files, plan, EVAL_VIEWS[view](side)), strict=True):
            values[rows] = batch.reshape(len(rows), width).numpy()

    listed = hashlib.sha256()
    for path, (size, changed) in zip(files.paths, statuses(files.paths), strict=True):
        listed.update(f"{path} {size} {changed}\n".encode())
    depends_on = {
        "files": [card.name, card.version, listed.hexdigest(), files.border],
        "view": [view, side],
        "computed": [jpeg_decoder(), torch.__version__, torchvision.__version__, pillow_version],
    }
    stored = cache.filled(f"views-{key_of(depends_on)}", count, width, UINT8, fill)
    if stored is None:
        return images
    pixels = torch.from_numpy(stored.values).view(count, 3, side, side)
    return replace(images, images=pixels, digest=stored.digest)
