"""How far a training is, in one line a minute."""

from __future__ import annotations

import time
from collections.abc import Callable

import torch

from carft.config.cell import Cell
from carft.config.registry import STEP_PASSES
from carft.core.errors import duration
from carft.core.machine import card_of
from carft.models.availability import size_of
from carft.training.distributed import WorkerRank

#: seconds between two lines
LOG_EVERY_S = 60.0


class Pace:
    """Logs step, loss, speed and the time that is left of a training.

    Args:
        cell: That is trained.
        device: Of this worker.
        steps: Of the whole training.
        batch: Images of a step, of all workers.
        log: Gets the lines.
    """

    def __init__(self, cell: Cell, device: torch.device, steps: int, batch: int, log: Callable[[str], None]) -> None:
        self.cell, self.device, self.steps, self.batch, self.log = cell, device, steps, batch, log
        self.restart(0)

    def restart(self, step: int) -> None:
        """Measure from now on, since an evaluation is no training. step: steps that were taken."""
        self.step, self.since = step, time.monotonic()

    def is_due(self) -> bool:
        """Whether a line is due."""
        return time.monotonic() - self.since >= LOG_EVERY_S

    def report(self, step: int, loss: float) -> None:
        """Log a line. step: steps that were taken, more than at the last line. loss: of the last one."""
        seconds = (time.monotonic() - self.since) / (step - self.step)
        rate = self.batch / seconds
        left = duration((self.steps - step) * seconds)
        self.log(
            f"step {step:,}/{self.steps:,}  loss {loss:.3f}  {rate:,.0f} images/s{self._utilisation(rate)}  "
            f"{left} left, without evaluations"
        )
        self.restart(step)

    def _utilisation(self, rate: float) -> str:
        """Model FLOPs utilisation in words, forward and backward pass alone; empty where the card is not known."""
        if self.device.type != "cuda":
            return ""
        card, size = card_of(torch.cuda.get_device_name(self.device)), size_of(self.cell.model)
        if card is None or size is None:
            return ""
        peak = card.peak(self.cell.precision) * WorkerRank.current().workers
        return f"  MFU {100 * rate * STEP_PASSES * size.flop / peak:.0f} %"
