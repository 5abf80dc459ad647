"""Exports the curves of cells to TensorBoard event files: ``events/tensorboard/<task>/<method>/<cell>/``.

carft never reads these files; the folder ``events`` can be removed at any time.
"""

from __future__ import annotations

import json
import math
from pathlib import Path

from carft.core.files import new_folder
from carft.store.records import Record, Store


def write_events(store: Store) -> tuple[Path, int]:
    """Write the curves of trained cells that have none yet; returns the folder and the number of these cells."""
    folder = store.root / "events" / "tensorboard"
    folder.mkdir(parents=True, exist_ok=True)
    return folder, sum(_write_cell(store, record, folder) for record in store.records())


def _write_cell(store: Store, record: Record, tensorboard: Path) -> bool:
    """Write curves over steps, and the metrics at the last step; returns whether they were new."""
    history = store.history(record.id)
    task = "".join(c if c.isalnum() or c in "-_" else "-" for c in record.cell.task)  # one folder
    folder = tensorboard / task / record.cell.method / record.id
    if not history or folder.is_dir():
        return False
    from tensorboardX import SummaryWriter

    with new_folder(folder) as part, SummaryWriter(str(part)) as writer:
        writer.add_text("cell", f"```\n{json.dumps(record.cell.as_dict(), indent=1)}\n```")
        for name, values in history.items():
            if name != "step":
                for step, value in zip(history["step"], values, strict=True):
                    if math.isfinite(value):
                        writer.add_scalar(name, value, int(step))
        last = int(history["step"][-1])
        for name, value in store.metrics(record.id).items():
            if name not in history:
                writer.add_scalar(f"final/{name}", value, last)
    return True
