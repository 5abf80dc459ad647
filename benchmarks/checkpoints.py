"""What checkpoints by time cost a training, as shares of the default interval between two of them."""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path

import torch

from benchmarks.benches import vit
from benchmarks.measuring import Figure
from carft.config.settings import CHECKPOINT_MINUTES
from carft.training.checkpoint import Checkpoints, TrainingProgress

ROUNDS = 3
#: rows of a history: ten epochs of ImageNet in batches of 512
STEPS = 25_000
INTERVAL_S = 60 * CHECKPOINT_MINUTES


def measure() -> list[Figure]:
    """CPU seconds of a checkpoint of ViT-B-32: those that hold up the step, and all of them, writing included."""
    network = vit().network()
    optimizer = torch.optim.AdamW(network.parameters(), fused=True)
    for parameter in network.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()  # the moments exist from here
    progress = TrainingProgress(
        STEPS, [{"epoch": 0.0, "step": float(step), "train/loss": 1.0} for step in range(STEPS)]
    )
    state = (network, optimizer, progress)
    held, whole = [], []
    with tempfile.TemporaryDirectory() as folder:
        checkpoints = Checkpoints(Path(folder) / "c.safetensors", minutes=1e-9)
        for _ in range(ROUNDS):
            thread, process = time.thread_time(), time.process_time()
            checkpoints.save(*state)
            held.append(time.thread_time() - thread)
            checkpoints.wait()
            whole.append(time.process_time() - process)
        size = checkpoints.path.stat().st_size
    note = f"{statistics.median(held):.2f} s of CPU every {CHECKPOINT_MINUTES:g} min, {size / 2**30:.2f} GiB"
    share, all_of_it = (statistics.median(seconds) / INTERVAL_S for seconds in (held, whole))
    return [
        Figure("step held up by checkpoints (ViT-B-32)", share, "<= 0.01", ROUNDS, "share of time", note),
        Figure("all CPU time of checkpoints, written beside the steps (ViT-B-32)", all_of_it, "<= 0.01", ROUNDS,
               "share of time", "of one core"),
    ]  # fmt: skip
