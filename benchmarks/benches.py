"""Things to measure on: the built-in model on its smallest task, and a ViT-B-32 that nobody trained."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import torch

from carft.catalog.catalog import BUILT_IN
from carft.catalog.resolve import specify
from carft.config.cell import Cell, Training
from carft.data.image_files import Files
from carft.data.task import ImageSet, Task
from carft.models.clip import Pretrained, load_pretrained
from carft.models.network import Network, Prompts
from carft.training.context import CellContext
from carft.training.execution import Execution
from carft.training.loop import Trainer

TASK = "icons-3/mix-7"
LR = 3e-4
EPOCHS = 5
#: images of ViT-B-32, all of them in one batch
VIT_BATCH = 4
HYPERPARAMETERS = {"ft": {"lr": LR}, "car_ft": {"lr": LR, "kl_weight": 1.0}}


def icons_cell() -> Cell:
    """A plain fine-tuning of the built-in model on its smallest task."""
    return specify(TASK, "ft", HYPERPARAMETERS["ft"], 0, Training(epochs=EPOCHS))


@dataclass(frozen=True)
class Setting:
    """What a training needs besides its cell: images, the pretrained model, the frozen text side."""

    images: ImageSet
    pretrained: Pretrained
    prompts: Prompts
    training: Training

    def cell(self, method: str) -> Cell:
        """A cell of this setting; only the loop sees it, so that its task does not matter."""
        return specify(TASK, method, HYPERPARAMETERS[method], 0, self.training)

    def network(self) -> Network:
        """A trainable network at zero-shot."""
        return Network(self.pretrained, self.prompts)

    def context(self, store: Path | None = None) -> CellContext:
        """What its cells are computed with. store: folder of the pretrained model's features."""
        execution = Execution(feature_cache=None if store is None else str(store))
        task = Task(TASK, train=self.images, val=self.images, digests={})
        return CellContext(task, self.pretrained, self.prompts, BUILT_IN.card(TASK), execution, catalog=BUILT_IN)

    def train(self, method: str, store: Path | None = None) -> None:
        """Run the training loop without validation. store: folder of the pretrained model's features."""
        cell, context = self.cell(method), self.context(store)
        loss = BUILT_IN.method(method).load()(cell, self.pretrained, self.prompts)
        trainer = Trainer(cell, context, self.network(), loss)
        for epoch in range(self.training.epochs):
            trainer.train_epoch(epoch)

    @property
    def steps(self) -> int:
        """Updates of one training."""
        return self.training.epochs * -(-len(self.images) // self.training.batch_size)


@cache
def icons() -> Setting:
    """The built-in model on its smallest task."""
    Execution().prepare()
    bench = CellContext.of(icons_cell(), Execution(), catalog=BUILT_IN)
    return Setting(bench.task.train, bench.pretrained, bench.prompts, Training(epochs=2))


@cache
def vit() -> Setting:
    """ViT-B-32 at random weights on noise of its input size: nothing to learn, the same work."""
    Execution().prepare()
    pretrained = load_pretrained("ViT-B-32", "random")
    side = pretrained.side
    noise = torch.randint(0, 256, (VIT_BATCH, 3, side, side), dtype=torch.uint8, generator=torch.manual_seed(0))
    prompts = Prompts.of(pretrained, BUILT_IN.card(TASK))
    return Setting(image_set(noise, VIT_BATCH), pretrained, prompts, Training(epochs=1, batch_size=VIT_BATCH))


def image_set(images: torch.Tensor | Files, count: int) -> ImageSet:
    """Images with labels that mean nothing."""
    names = tuple(f"image {i}" for i in range(count))
    labels = torch.arange(count) % len(BUILT_IN.card(TASK).classes)
    return ImageSet(images, labels, torch.full((count,), -1), names, names)
