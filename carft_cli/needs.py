"""What a plan says of the machines of a sweep, in sentences."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sweeps.plan.needs import Cost, Needs

#: kinds of long cells that a person is shown
FEW = 5


def needs_lines(needs: Needs, device: str, cost: Cost | None) -> list[str]:
    """What the machines need, which cells want several GPUs, and the cost, one sentence each. device: GPU or core."""
    each = "GPU of a node" if device == "GPU" else "cell at a time"
    cache = f"; on every node {_gib(needs.cache_bytes)} of disk for the cache" if needs.cache_bytes else ""
    lines = [
        checkpoint_line(needs),
        f"For every {each}, an estimate: {needs.cores_per_device} CPU cores, {_gib(needs.memory_per_device)} of host "
        f"memory{cache}.",
    ]
    if needs.gpu_bytes:
        lines.append(
            f"GPU memory of a training, an upper estimate: {_gib(needs.gpu_bytes)} with a batch of {needs.batch} "
            "images in one part. On a GPU with less the batch is computed in parts."
        )
    if needs.long_cells:
        few = needs.long_cells[:FEW]
        listed = ", ".join(f"{one.kind} of {one.method} on {one.task} ({one.hours:.1f} h)" for one in few)
        more = f" and {len(needs.long_cells) - FEW} more" if len(needs.long_cells) > FEW else ""
        lines.append(f"Cells that want more than one GPU, with their hours on one: {listed}{more}.")
    if needs.workers > 1:
        lines.append(f"Each cell is trained by {needs.workers} workers.")
    if needs.wider > needs.workers:
        lines.append(
            f"At first {needs.first_searches} trainings can run on {needs.gpus} GPUs: "
            f"--workers-per-cell {needs.wider} uses all of them."
        )
    if cost is not None:
        lines.append(f"Cost: {cost.busy:,.2f} for busy GPUs, {cost.reserved:,.2f} with all of them from start to end.")
    return lines


def too_few_cores(needs: Needs, device: str, cores: int) -> str:
    """The sentence for machines whose cores decode images more slowly than the device trains; empty for others.

    device: GPU or core. cores: for each device.
    """
    if device != "GPU" or cores >= needs.cores_per_device:
        return ""
    return (
        f"There are {cores} CPU cores for each GPU, and {needs.cores_per_device} would decode images as fast as it "
        "trains: GPUs will wait for images."
    )


def checkpoint_line(needs: Needs) -> str:
    """How often cells write checkpoints, and what these take."""
    if not needs.checkpoint_minutes:
        return "Checkpoints: by time none."
    size = _gib(needs.checkpoint_bytes) if needs.checkpoint_bytes else "of a size that is not known"
    return f"Checkpoints: every {needs.checkpoint_minutes:g} min, {size} in the results folder, removed with each cell."


def _gib(number: float) -> str:
    return f"{number / 2**30:.2g} GiB"
