"""Two tasks on drawn shapes. Every second image is negative; the suite "small" has smaller shapes."""

import numpy as np

from carft.data.card import STANDARD, Card
from carft.data.family import Family

PROMPTS = ("a drawing of a {}.", "a negative of a {}.")
NORMS = {"diamond": 1, "disc": 2, "square": np.inf}


def card(task, *classes):
    return Card(
        name=f"shapes/{task}",
        measures="drawn shapes",
        scale="own",
        version="1",
        classes=classes,
        templates=PROMPTS,
        banks={STANDARD: PROMPTS},
        contexts=PROMPTS,
        suites=("small",),
        group="drawing",
        metric="top1",
        licence="CC0-1.0",
        source="this file",
        loader=__name__,
        model="icons-resnet",
        pretrained="icons-3",
    )


def picture(card, held_out, name, root=None):
    """Return a held-out image, (H, W, 3) uint8."""
    split, number = name.split(":")
    rng = np.random.default_rng([*name.encode()])
    place = np.mgrid[0:32, 0:32] - rng.uniform(12, 20, (2, 1, 1))
    distance = np.linalg.norm(place, NORMS[card.classes[int(number) // 2 % 2]], axis=0)
    inside = distance < rng.uniform(6, 10) / (2 if split == "small" else 1)
    pixels = 255 * (inside ^ int(number) % 2)
    return np.repeat(pixels.astype(np.uint8)[..., None], 3, axis=2)


def images(card, split, count):
    import torch  # slow to import

    from carft.data.task import ImageSet

    numbers, names = torch.arange(count), [f"{split}:{number}" for number in range(count)]
    drawn = torch.tensor(np.stack([picture(card, split, name) for name in names])).permute(0, 3, 1, 2)
    return ImageSet(drawn, labels=numbers // 2 % 2, contexts=numbers % 2, names=names, groups=names)


def require_present(card, options):
    """Raise ``carft.core.errors.UserError`` where data are missing, without reading images."""


def open_task(card, options):
    from carft.data.task import Task

    return Task(card.name, images(card, "train", 64), images(card, "val", 32), {"attested": "yes"})


def open_sealed(card, options):
    from carft.data.task import Sealed

    return Sealed(images(card, "test", 32), {"small": images(card, "small", 32)})


CARDS = [card("round", "disc", "square"), card("tilted", "diamond", "square")]
FAMILY = Family("shapes", {card.name: card for card in CARDS})
