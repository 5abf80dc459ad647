"""Pictures against the images that a task opens."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from carft.data.card import Card
from carft.data.pictures import picture_of
from tests.support.folder import Folder


def compared_pictures(card: Card, root: Path | None) -> int:
    """Compare the first and last picture of every held-out set with the image of that name; how many there were."""
    count = 0
    for name, images in card.unseal(Folder(root)).sets().items():
        for row in (0, len(images) - 1):
            opened: torch.Tensor = images.images[row]
            found = picture_of(card, name, images.names[row], root)
            assert np.array_equal(found, opened.permute(1, 2, 0).numpy()), (card.name, name, images.names[row])
            count += 1
    return count
