"""LiNeS: the update of a layer is kept the more, the deeper the layer lies (Wang et al., arXiv 2410.17146)."""

import re
from collections.abc import Mapping, Sequence

import torch

Weights = Mapping[str, torch.Tensor]
#: a block of the image encoder in the name of a tensor: a residual block of a ViT, or a stage's block of a ResNet
BLOCK = re.compile(r"visual\..*?(?:resblocks|blocks|layers|layer\d+|stages)\.\d+\.")
#: tensors of the image encoder before its first block
STEM = re.compile(
    r"visual\.(?:trunk\.)?"
    r"(?:conv\d|bn\d|class_embedding|positional_embedding|ln_pre|patch|stem|conv_stem|pos_embed|cls_token|norm_pre)"
)


def scaled_by_depth(start: Weights, tuned: Weights, alpha: float) -> dict[str, torch.Tensor]:
    """theta_0 + lambda_l (theta - theta_0) with lambda_l = alpha + (1 - alpha) (l - 1) / (L - 1) in block l of L.

    So the last block keeps its update, and so do the tensors after it, the class head included; those before the first
    block are scaled as it is. alpha: the part that the first block keeps, in [0, 1].
    """
    blocks = _blocks(list(start))
    merged = dict(start)
    for name, origin in start.items():
        if origin.is_floating_point():
            merged[name] = torch.lerp(origin, tuned[name], alpha + (1 - alpha) * _depth(name, blocks))
    return merged


def _blocks(names: Sequence[str]) -> list[str]:
    """The blocks of the image encoder, in the order of the network."""
    blocks: dict[str, None] = {}
    for name in names:
        found = BLOCK.match(name)
        if found:
            blocks[found.group()] = None
    return list(blocks)


def _depth(name: str, blocks: Sequence[str]) -> float:
    """(l - 1) / (L - 1) of a tensor, in [0, 1]."""
    found = BLOCK.match(name)
    if found and len(blocks) > 1:
        return blocks.index(found.group()) / (len(blocks) - 1)
    return 0.0 if STEM.match(name) else 1.0
