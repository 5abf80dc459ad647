"""What a learning-rate range test would find: python -m benchmarks.range_test [MODEL]

The rate grows from step to step over six decades; the test finds the rate at which the smoothed training loss doubles
over its least. No search range comes from it: those of recipes come from validation accuracy (docs/icons-world.md).
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from contextlib import suppress

from carft.catalog.catalog import BUILT_IN
from carft.catalog.resolve import specify
from carft.config.settings import Training
from carft.core.errors import Diverged
from carft.data.icons.world import nine_tasks
from carft.training.context import CellContext
from carft.training.execution import Execution
from carft.training.loop import Trainer

LOW, HIGH, STEPS = 1e-6, 1.0, 60
#: weight of the past in the smoothed loss
PAST = 0.9
SEEDS, BATCHES = (0, 1, 2, 3), (8, 32)


def curve(model: str, task: str, seed: int, batch_size: int) -> list[tuple[float, float]]:
    """(rate, training loss) of every step of plain fine-tuning, until the loss is not finite."""
    training = Training(epochs=1, batch_size=batch_size, steps=STEPS, warmup=0.0, schedule="constant")
    cell = specify(task, "ft", {"lr": LOW}, seed, training, model=model)
    execution = Execution("cpu")
    execution.prepare()
    context = CellContext.of(cell, execution, catalog=BUILT_IN)
    method = BUILT_IN.method(cell.method).load()(cell, context.pretrained, context.prompts)
    trainer = Trainer(cell, context, context.network(), method)
    trainer.rates = [LOW * (HIGH / LOW) ** (step / (STEPS - 1)) for step in range(STEPS)]
    with suppress(Diverged):
        trainer.train_epoch(0)
    return [(row["lr"], row["train/loss"]) for row in trainer.progress.history]


def doubles_at(points: Sequence[tuple[float, float]]) -> float:
    """The rate at which the smoothed loss is twice its least, after that; NaN if it never is."""
    smooth, mean = [], 0.0
    for step, (_, loss) in enumerate(points, start=1):
        mean = PAST * mean + (1 - PAST) * loss
        smooth.append(mean / (1 - PAST**step))
    least = min(range(len(smooth)), key=smooth.__getitem__)
    later = [rate for (rate, _), loss in zip(points, smooth, strict=True) if loss > 2 * smooth[least]]
    return next((rate for rate in later if rate > points[least][0]), math.nan)


def main() -> None:
    """Print what the test finds for each task, seed and batch size."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?", default="icons-resnet", help="a built-in model")
    model = parser.parse_args().model
    for task in nine_tasks():
        for seed in SEEDS:
            for size in BATCHES:
                found = doubles_at(curve(model, task, seed, size))
                print(f"{task}, seed {seed}, batch {size}: {found:.2g}", flush=True)


if __name__ == "__main__":
    main()
