"""What the scripts of this example share: rows of the table, pixels, and the contexts that prompts name."""

import csv
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torchvision.transforms.v2 import functional as tv

from carft.core.files import file_digest
from carft.data.decoding import decode_pixels

HERE = Path(__file__).parent
TABLE = HERE / "table.csv"
CLASSES = ("dog", "elephant", "giraffe", "guitar", "horse", "house", "person")
#: context -> prompt. The first four are the domains, the others renderings of photographs.
PROMPTS = {
    "art-painting": "a painting of a {}.",
    "cartoon": "a cartoon of a {}.",
    "photo": "a photo of a {}.",
    "sketch": "a sketch of a {}.",
    "black-and-white": "a black and white photo of a {}.",
    "blurry": "a blurry photo of a {}.",
    "bright": "a bright photo of a {}.",
    "close-up": "a close-up photo of a {}.",
    "dark": "a dark photo of a {}.",
    "grainy": "a grainy photo of a {}.",
    "pixelated": "a pixelated photo of a {}.",
    "upside-down": "an upside-down photo of a {}.",
}
CONTEXTS = tuple(PROMPTS)
DOMAINS, RENDERINGS = CONTEXTS[:4], CONTEXTS[4:]

Row = dict[str, str]


def table_rows(root: Path, splits: Sequence[str], digits: int = 16) -> list[Row]:
    """Return the rows of some splits. Raises ``SystemExit`` where an image in ``root`` is not that of the table."""
    with TABLE.open(encoding="utf-8", newline="") as stream:
        rows = [row for row in csv.DictReader(stream) if row["split"] in splits]
    for row in rows:
        path = root / row["path"]
        if not path.is_file():
            raise SystemExit(f"There is no image '{path}'. ROOT is the folder that holds PACS.")
        if file_digest(path)[:digits] != row["sha256"]:
            raise SystemExit(f"'{path}' is another image than the table's: its sha256 differs. Get PACS again.")
    return rows


def pixels(root: Path, rows: Sequence[Row], side: int) -> torch.Tensor:
    """Return the images of rows, (N, 3, side, side) uint8; those of PACS are square."""

    def decoded(row: Row) -> torch.Tensor:
        image = torch.from_numpy(np.array(decode_pixels(root / row["path"]))).permute(2, 0, 1)
        return tv.resize(image, [side, side], interpolation=tv.InterpolationMode.BICUBIC, antialias=True)

    with ThreadPoolExecutor(2) as pool:
        return torch.stack(list(pool.map(decoded, rows)))


# renderings of an image (3, H, W) in [0, 1]; strength: in [0, 1], from slight to strong


def _grey(image: torch.Tensor, strength: float, noise: torch.Generator) -> torch.Tensor:
    return torch.lerp(image, tv.rgb_to_grayscale(image, 3), 0.7 + 0.3 * strength)


def _blurry(image: torch.Tensor, strength: float, noise: torch.Generator) -> torch.Tensor:
    return tv.gaussian_blur(image, [15, 15], [image.shape[-1] * (0.01 + 0.02 * strength)])


def _bright(image: torch.Tensor, strength: float, noise: torch.Generator) -> torch.Tensor:
    return image * (0.8 - 0.3 * strength) + 0.2 + 0.3 * strength


def _close_up(image: torch.Tensor, strength: float, noise: torch.Generator) -> torch.Tensor:
    side = image.shape[-1]
    return tv.resized_crop(image, *_centre(side, round(side * (0.6 - 0.25 * strength))), [side, side], antialias=True)


def _centre(side: int, part: int) -> tuple[int, int, int, int]:
    return (side - part) // 2, (side - part) // 2, part, part


def _dark(image: torch.Tensor, strength: float, noise: torch.Generator) -> torch.Tensor:
    return image * (0.5 - 0.3 * strength)


def _grainy(image: torch.Tensor, strength: float, noise: torch.Generator) -> torch.Tensor:
    grain = torch.randn(image.shape[-2:], generator=noise) * (0.06 + 0.12 * strength)
    return (image + grain).clamp(0, 1)


def _pixelated(image: torch.Tensor, strength: float, noise: torch.Generator) -> torch.Tensor:
    side = image.shape[-1]
    small = F.interpolate(image[None], size=round(side * (0.3 - 0.18 * strength)), mode="area")
    return F.interpolate(small, size=side, mode="nearest")[0]


def _upside_down(image: torch.Tensor, strength: float, noise: torch.Generator) -> torch.Tensor:
    return image.flip(-2)


RENDER: Mapping[str, Callable[[torch.Tensor, float, torch.Generator], torch.Tensor]] = {
    "black-and-white": _grey,
    "blurry": _blurry,
    "bright": _bright,
    "close-up": _close_up,
    "dark": _dark,
    "grainy": _grainy,
    "pixelated": _pixelated,
    "upside-down": _upside_down,
}


def rendered(image: torch.Tensor, context: str, noise: torch.Generator) -> torch.Tensor:
    """Return an image (3, H, W) uint8 in a context, at a strength drawn from ``noise``; in a domain's as it is."""
    if context in DOMAINS:
        return image
    strength = float(torch.rand((), generator=noise))
    shown = RENDER[context](image.float() / 255, strength, noise)
    return (255 * shown).round().clamp(0, 255).to(torch.uint8)
