"""Pictures against the images that a task opens."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from carft.config.catalog import BUILT_IN, Catalog
from tests.support.folder import Folder


def compared_pictures(task: str, root: Path | None, catalog: Catalog = BUILT_IN) -> int:
    """Compare the first and last picture of every held-out set with the image of that name; how many there were."""
    count = 0
    for name, images in catalog.unseal(task, Folder(root)).sets().items():
        for row in (0, len(images) - 1):
            opened: torch.Tensor = images.images[row]
            found = catalog.family(task).picture(catalog.card(task), name, images.names[row], root)
            assert np.array_equal(found, opened.permute(1, 2, 0).numpy()), (task, name, images.names[row])
            count += 1
    return count
