"""What a card must show: the tests of the gpu lane use it on a card, others at a small size on a CPU."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

import numpy as np
import open_clip
import torch
from PIL import Image

from carft.catalog.catalog import BUILT_IN
from carft.catalog.resolve import specify
from carft.config.cell import Cell, Training
from carft.config.registry import METHODS
from carft.data.image_files import Files
from carft.data.task import ImageSet, Task
from carft.models.clip import load_pretrained
from carft.models.network import Prompts
from carft.training.checkpoint import Checkpoints
from carft.training.context import CellContext
from carft.training.execution import Execution
from carft.training.loop import Trainer
from carft.training.run import Computed, compute
from tests.support.faults import SMALL, Sweep
from tests.support.gates import Gate
from tests.support.helpers import LR, ROOT, TASK

#: a vision transformer as open_clip builds it, with the side and the text tower of the built-in model
TINY_VIT = "tiny-vit"
open_clip.add_model_config(ROOT / "tests" / "support" / "models")

#: minutes between checkpoints with which one is written after every step
ALWAYS = 1e-9


class Killed(Exception):
    """A kill at a known place."""


def on_noise(
    model: str, precision: str, batch: int, steps: int, execution: Execution, method: str = "car_ft"
) -> tuple[Cell, CellContext]:
    """A cell of two epochs on noise at the method's first guess, and what it is computed with.

    Weights are random, so that nothing is read.
    """
    execution.prepare()
    training = Training(epochs=2, batch_size=batch)
    guess = {name: limits.first_guess for name, limits in METHODS[method].space.items()}
    if "lr" in guess:
        guess["lr"] = LR
    cell = specify(TASK, method, guess, 0, training, None, model, "random", precision=precision)
    pretrained = load_pretrained(model, "random")
    pretrained.clip.to(execution.device)
    chosen, side = BUILT_IN.card(TASK), pretrained.side

    def images(count: int) -> ImageSet:
        pixels = torch.randint(0, 256, (count, 3, side, side), dtype=torch.uint8, generator=torch.manual_seed(count))
        names = tuple(f"image {number}" for number in range(count))
        labels = torch.arange(count) % len(chosen.classes)
        return ImageSet(pixels, labels, torch.full((count,), -1), names, names)

    task = Task(TASK, images(steps * batch - 3), images(batch), {})  # a short last batch
    prompts = Prompts.of(pretrained, chosen)
    return cell, CellContext(task, pretrained, prompts, chosen, execution, catalog=BUILT_IN)


def as_photos(context: CellContext, folder: Path) -> CellContext:
    """The context with its images as JPEG files, a third wider than high."""
    task = context.task
    sets = {}
    for part, images in (("train", task.train), ("val", task.val)):
        (folder / part).mkdir(parents=True)
        paths = []
        for number in range(len(images)):
            pixels = images.images[number].permute(1, 2, 0).numpy()
            height, width = pixels.shape[:2]
            paths.append(folder / part / f"{number}.jpg")
            Image.fromarray(pixels).resize((width * 4 // 3, height)).save(paths[-1], quality=90)
        sets[part] = replace(images, images=Files(tuple(paths)))
    return replace(context, task=replace(task, **sets))


def killed_and_resumed(cell: Cell, context: CellContext, folder: Path, after: int) -> tuple[Computed, list[str]]:
    """What a training gives that is killed after so many steps and goes on from its checkpoint, and what it logged."""
    checkpoints = Checkpoints(folder / "checkpoint.safetensors", minutes=ALWAYS)
    update, said = Trainer.update, []

    def killed(self: Trainer, step: int, *rest: object) -> object:
        if step == after:
            checkpoints.wait()
            raise Killed
        return update(self, step, *rest)  # type: ignore[arg-type]

    with patch.object(Trainer, "update", killed):
        try:
            compute(cell, context, checkpoints)
        except Killed:
            pass
        else:
            raise AssertionError(f"the training has no step {after}")
    return compute(cell, context, Checkpoints(checkpoints.path, minutes=1e6), said.append), said


def require_same_bits(first: Computed, second: Computed) -> None:
    """Raise ``AssertionError`` unless history, metrics, predictions and weights of two trainings are equal."""
    assert first.history == second.history and first.metrics == second.metrics
    assert np.array_equal(first.predictions.logits, second.predictions.logits)
    others = second.network.state_dict()
    assert all(torch.equal(value, others[name]) for name, value in first.network.state_dict().items())


def require_repeatable(cell: Cell, context: CellContext, folder: Path) -> None:
    """Raise ``AssertionError`` unless a training has the same bits when it runs again, and when it is resumed."""
    first = compute(cell, context)
    require_same_bits(first, compute(cell, context))
    resumed, _ = killed_and_resumed(cell, context, folder, after=len(first.history) - 1)
    require_same_bits(first, resumed)


def sweep_that_fills(places: int, results: Path, gate: Gate, *arguments: object) -> list[str]:
    """Run a sweep of as many tiny trainings as there are GPUs or cores, each of which must hold one at the same time.

    Returns the GPUs that the logs of the trainings name, none on a CPU.
    """
    sweep = Sweep(results, *SMALL, "--trials", places, *arguments, gate=gate)
    try:
        sweep.until(lambda: len(gate.held()) == places, f"{places} cells train at a time")
        logs = [path.read_text(encoding="utf-8") for path in (results / "logs").glob("*search*.log")]
        gate.open()
        assert sweep.end() == 0, sweep.said
    finally:
        sweep.kill()
    mark = "GPU of the job: "
    return [line.removeprefix(mark) for log in logs for line in log.splitlines() if line.startswith(mark)]
