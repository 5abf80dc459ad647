"""Made-up photos for benchmarks."""

from pathlib import Path

import numpy as np
from PIL import Image

from carft.data.image_files import Files


def photos(folder: Path, count: int) -> Files:
    """Write JPEG files of 500 x 375 pixels with about the bytes of photos."""
    rng = np.random.default_rng(0)
    paths = []
    for number in range(count):
        coarse = Image.fromarray(rng.integers(0, 256, (375 // 8, 500 // 8, 3), dtype=np.uint8))
        paths.append(folder / f"{number}.jpg")
        coarse.resize((500, 375), Image.Resampling.BICUBIC).save(paths[-1], quality=90)
    return Files(tuple(paths))
