"""Whether the contexts can be told apart at all: a linear probe from simple statistics of the pixels.

A linear map of raw pixels cannot see noise, blur or grey, which have mean zero or no sign; the statistics make them
linear. They know nothing of the drawing, so the probe says what the *context* looks like.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F

from carft.data.icons.contexts import SIDE
from carft.data.icons.drawings import Drawing
from carft.data.icons.rendering import render
from carft.data.icons.world import World

GRID = 8


def statistics(images: torch.Tensor) -> torch.Tensor:
    """Return colour, saturation, slope and detail on a grid, (N, D) float32, of images (N, 3, SIDE, SIDE) uint8."""
    pixels = images.float() / 255
    grey = pixels.mean(1, keepdim=True)
    saturation = pixels.amax(1, keepdim=True) - pixels.amin(1, keepdim=True)
    slope = F.pad((grey[..., 1:] - grey[..., :-1]).abs(), (0, 1))
    detail = (grey - F.avg_pool2d(grey, 3, 1, 1)).abs()
    maps = torch.cat([pixels, grey.square(), saturation, slope, detail], dim=1)
    return F.avg_pool2d(maps, SIDE // GRID).flatten(1)


def confusion(train: list[Drawing], held_out: list[Drawing], world: World, steps: int = 300) -> np.ndarray:
    """Fit the probe on a rendering of ``train`` in each context; return the shares [shown, said] on ``held_out``."""
    size = len(world.prompts)
    x, y = _statistics_of(train, world)
    mean, scale = x.mean(0), x.std(0) + 1e-3
    probe = torch.nn.Linear(x.shape[1], size)
    torch.nn.init.zeros_(probe.weight)
    optimizer = torch.optim.LBFGS(probe.parameters(), max_iter=steps, line_search_fn="strong_wolfe")

    def loss() -> torch.Tensor:
        optimizer.zero_grad()
        value = F.cross_entropy(probe((x - mean) / scale), y) + 1e-4 * probe.weight.square().sum()
        value.backward()
        return value

    optimizer.step(loss)
    shown, labels = _statistics_of(held_out, world)
    with torch.no_grad():
        said = probe((shown - mean) / scale).argmax(1)
    counts = torch.zeros(size, size).index_put_((labels, said), torch.tensor(1.0), accumulate=True)
    return (counts / counts.sum(1, keepdim=True)).numpy()


def _statistics_of(drawings: list[Drawing], world: World) -> tuple[torch.Tensor, torch.Tensor]:
    images = np.stack([render(d, c, 0, world).transpose(2, 0, 1) for d in drawings for c in world.prompts])
    return statistics(torch.from_numpy(images)), torch.arange(len(world.prompts)).repeat(len(drawings))
