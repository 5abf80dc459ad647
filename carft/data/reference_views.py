"""The image views of DomainBed's and CLIPood's code. They work on Pillow images, as that code does.

Sources: facebookresearch/DomainBed at b93c22a, domainbed/datasets.py (MultipleEnvironmentImageFolder); thuml/CLIPood at
bc0d874, README.md (the transforms that take their place there). Their normalisation is no part of a view.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torchvision.transforms import InterpolationMode
from torchvision.transforms import functional as tv

from carft.data.views import CentreView, View, crop_box

#: smallest share of the area of a crop
LEAST = 0.7
#: largest relative change of brightness, contrast and saturation, and largest shift of hue in turns
JITTER = 0.3
#: probability of a mirrored and of a grey image
FLIP, GREY = 0.5, 0.1
#: uniform draws of an image: 4 of the crop, 1 of the flip, 4 of the order and 4 of the strength of the colour changes,
#: 1 of grey
DRAWS = 14


#: colour changes in their order: 0 brightness, 1 contrast, 2 saturation (factors) or 3 hue (turns); strength
Colours = tuple[tuple[int, float], ...]


@dataclass(frozen=True)
class ReferenceTrainView:
    """RandomResizedCrop of 70 to 100 % of the area, bilinear, and a flip; in DomainBed also colour jitter and grey."""

    draws: np.ndarray
    """(N, DRAWS) uniform draws in [0, 1), one row per image of the set."""
    side: int
    """Side of the view in pixels."""
    colour: bool
    """Whether colours change: DomainBed's view; CLIPood's leaves them."""

    def __call__(self, image: torch.Tensor, row: int) -> torch.Tensor:
        draw = self.draws[row]
        box = crop_box(draw, image.shape[-2], image.shape[-1], LEAST)
        flip = bool(draw[4] < FLIP)
        if self.colour:
            return changed(image, self.side, box, flip, colours_of(draw), grey=bool(draw[13] < GREY))
        return changed(image, self.side, box, flip)


def colours_of(draw: np.ndarray) -> Colours:
    """Return the colour changes of an image for its uniform draws (DRAWS,) in [0, 1)."""
    strengths = JITTER * (2 * draw[9:13] - 1) + np.array([1.0, 1.0, 1.0, 0.0])
    return tuple((int(kind), float(strengths[kind])) for kind in np.argsort(draw[5:9], kind="stable"))


def changed(
    pixels: torch.Tensor,
    side: int,
    box: tuple[int, int, int, int],
    flip: bool,
    colours: Colours = (),
    grey: bool = False,
) -> torch.Tensor:
    """Return (3, side, side) uint8 of an image (3, H, W) uint8. Pillow gets the crop alone: the same pixels, sooner.

    box: top, left, height and width of the crop.
    """
    image = tv.to_pil_image(tv.crop(pixels, *box))
    image = tv.resize(image, [side, side], InterpolationMode.BILINEAR)
    if flip:
        image = tv.hflip(image)
    kinds = (tv.adjust_brightness, tv.adjust_contrast, tv.adjust_saturation, tv.adjust_hue)
    for kind, strength in colours:
        image = kinds[kind](image, strength)
    if grey:
        image = tv.rgb_to_grayscale(image, num_output_channels=3)
    return tv.pil_to_tensor(image)


@dataclass(frozen=True)
class BilinearView:
    """An evaluation view by bilinear resizing."""

    side: int
    stretched: bool
    """Whether to side x side whatever the shape, as in DomainBed; else the shorter side, then the centre square, as in
    CLIPood."""

    def __call__(self, image: torch.Tensor, row: int) -> torch.Tensor:
        size = [self.side, self.side] if self.stretched else [self.side]
        resized = tv.resize(tv.to_pil_image(image), size, InterpolationMode.BILINEAR)
        return tv.pil_to_tensor(tv.center_crop(resized, [self.side, self.side]))


#: ``eval_view`` of a cell -> the class of the view
EVAL_VIEWS: dict[str, Callable[[int], View]] = {
    "centre": CentreView,
    "centre-bilinear": partial(BilinearView, stretched=False),
    "stretch": partial(BilinearView, stretched=True),
}
