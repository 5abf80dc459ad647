"""CLIP models through open_clip's own door. Weights are loaded weights-only; random weights are refused."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import open_clip
import torch
import torch.nn.functional as F
from torch.nn.utils import convert_conv2d_weight_memory_format

from carft.cell import DIGEST_MARK
from carft.data.icons.world import WEIGHTS_FOLDER
from carft.errors import Refusal, unknown

#: pretrained tag -> file, for models that ship with this package
BUILT_IN_WEIGHTS = {("icons-resnet", "icons"): WEIGHTS_FOLDER / "icons-resnet.safetensors"}


@dataclass(frozen=True)
class Pretrained:
    """A pretrained CLIP: the model in eval mode, its tokenizer, and what its images need.

    scale: exp(logit_scale), frozen. mean, std: (3,) of the normalisation. side: input height and width in pixels.
    digest: sha256 of the weights.
    """

    name: str
    clip: Any
    tokenize: Callable[[list[str]], torch.Tensor]
    scale: float
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    side: int
    digest: str

    def normalise(self, images: torch.Tensor) -> torch.Tensor:
        """uint8 (B, 3, H, W) to normalised float32 of the same shape, channels last."""
        mean = torch.tensor(self.mean, device=images.device).view(3, 1, 1)
        std = torch.tensor(self.std, device=images.device).view(3, 1, 1)
        return images.contiguous(memory_format=torch.channels_last).float().div_(255).sub_(mean).div_(std)

    @torch.no_grad()
    def text_features(self, classes: Sequence[str], templates: Sequence[str]) -> torch.Tensor:
        """T[k, c] (K, C, D): L2-normalised text features of template k filled with class c."""
        device = next(self.clip.parameters()).device
        rows = []
        for template in templates:
            tokens = self.tokenize([template.format(name) for name in classes]).to(device)
            rows.append(F.normalize(self.clip.encode_text(tokens).float(), dim=-1))
        return torch.stack(rows)


def register_built_in() -> None:
    """Make the built-in architecture known to open_clip under its name."""
    open_clip.add_model_config(WEIGHTS_FOLDER / "icons-resnet.json")


@lru_cache(maxsize=2)
def load_pretrained(model: str, pretrained: str) -> Pretrained:
    """Load ``model`` with the weights ``pretrained``: a tag of open_clip or the path of a file.

    Raises ``Refusal`` for an unknown model, an unknown tag, a missing file, weights that do not fit, a hub that
    cannot be reached, and for no weights at all: a zero-shot start from random weights means nothing.
    """
    register_built_in()
    if model not in open_clip.list_models():
        raise unknown("model", model, open_clip.list_models())
    if not pretrained or pretrained == "random":
        raise Refusal(
            f"Model '{model}' was asked for without pretrained weights.",
            "CAR-FT starts from a pretrained CLIP; give --pretrained a tag or the path of a weights file.",
        )
    pretrained, _, wanted = pretrained.partition(DIGEST_MARK)
    source = _resolve(model, pretrained)
    try:
        clip, _, _ = open_clip.create_model_and_transforms(model, pretrained=source, require_pretrained=True)
    except Exception as error:  # open_clip raises many kinds; each is shown with what to do
        raise Refusal(
            f"The weights '{pretrained}' of '{model}' could not be loaded: {_first_sentence(error)}",
            "Give --pretrained the path of a weights file on this machine, or run where the hub can be reached.",
        ) from error
    convert_conv2d_weight_memory_format(clip.eval().requires_grad_(False), torch.channels_last)
    config = open_clip.get_model_preprocess_cfg(clip)
    side = config["size"] if isinstance(config["size"], int) else config["size"][0]
    digest = hashlib.sha256(Path(source).read_bytes()).hexdigest() if Path(source).is_file() else source
    if wanted and digest != wanted:
        raise Refusal(f"The weights file '{pretrained}' is not the one this cell was specified with.")
    return Pretrained(
        name=model,
        clip=clip,
        tokenize=open_clip.get_tokenizer(model),
        scale=float(clip.logit_scale.exp()),
        mean=tuple(config["mean"]),
        std=tuple(config["std"]),
        side=side,
        digest=digest,
    )


def _resolve(model: str, pretrained: str) -> str:
    if (model, pretrained) in BUILT_IN_WEIGHTS:
        path = BUILT_IN_WEIGHTS[model, pretrained]
        if not path.is_file():
            raise Refusal(
                f"The built-in weights are missing: {path}.",
                "Install the project again, or make them with: python cli.py icons pretrain",
            )
        return str(path)
    if Path(pretrained).suffix or "/" in pretrained:
        if pretrained.startswith("hf-hub:"):
            return pretrained
        if not Path(pretrained).is_file():
            raise Refusal(f"There is no weights file '{pretrained}'.", "Check the path given to --pretrained.")
        return pretrained
    tags = [*open_clip.list_pretrained_tags_by_model(model), *(t for m, t in BUILT_IN_WEIGHTS if m == model)]
    if pretrained not in tags:
        raise unknown(f"weights tag of {model}", pretrained, tags)
    return pretrained


def _first_sentence(error: Exception) -> str:
    logging.getLogger(__name__).debug("loading failed", exc_info=error)
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".") + "."
