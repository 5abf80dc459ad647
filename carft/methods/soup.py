"""Model soups: averages of the weights of several tuned models (Wortsman et al., arXiv 2203.05482)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch

from carft.methods.wise_ft import interpolate

Weights = Mapping[str, torch.Tensor]


def uniform_soup(names: Sequence[str], load: Callable[[str], Weights]) -> dict[str, torch.Tensor]:
    """theta = 1/n sum_i theta_i over every floating tensor, class head and bias included; the rest from the first.

    load: returns the weights of a name; the average and one model are in memory at a time. Averages are float64.
    """
    soup = _double(load(names[0]))
    for count, name in enumerate(names[1:], start=1):
        soup = interpolate(soup, _double(load(name)), 1 / (count + 1))
    return soup


def greedy_soup(
    ranked: Sequence[str], load: Callable[[str], Weights], accuracy: Callable[[Weights], float], best: float
) -> tuple[list[str], dict[str, torch.Tensor]]:
    """Members and weights: each model in turn is added if the soup with it validates no worse than the soup without.

    ranked: from the best on validation down; the first is always a member, and ``best`` is its accuracy. "No worse" is
    the paper's rule; the authors' code (mlfoundations/model-soups) requires "better".
    """
    members, soup = [ranked[0]], _double(load(ranked[0]))
    for name in ranked[1:]:
        trial = interpolate(soup, _double(load(name)), 1 / (len(members) + 1))
        reached = accuracy(trial)
        if reached >= best:
            members, soup, best = [*members, name], trial, reached
    return members, soup


def _double(weights: Weights) -> dict[str, torch.Tensor]:
    return {name: value.double() if value.is_floating_point() else value.clone() for name, value in weights.items()}
