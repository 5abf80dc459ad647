"""The two files of the drawings, the same bytes for the same inputs."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd

from carft.data.icons.build.merging import Found
from carft.data.icons.drawings import MASKS, SPLITS, TABLE, packed

_EPOCH = (1980, 1, 1, 0, 0, 0)


def write(dealt: list[tuple[Found, str]], folder: Path) -> None:
    """Write the census and the masks of all drawings."""
    ordered = sorted(dealt, key=lambda pair: (pair[0].task, pair[0].class_name, pair[1], pair[0].name))
    rows = [(d.name, d.foundry, d.task, d.class_name, split, " ".join(d.cuts)) for d, split in ordered]
    table = pd.DataFrame(rows, columns=["drawing", "foundry", "task", "class", "split", "cuts"])
    table.to_csv(folder / TABLE.name, index=False, lineterminator="\n")
    with zipfile.ZipFile(folder / MASKS.name, "w") as archive:
        for split in SPLITS:
            stream = io.BytesIO()
            np.save(stream, packed(np.stack([mask for d, own in ordered if own == split for mask in d.alphas])))
            entry = zipfile.ZipInfo(f"{split}.npy", _EPOCH)
            archive.writestr(entry, stream.getvalue(), zipfile.ZIP_LZMA)
