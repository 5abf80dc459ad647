"""Availability of weights and size of models, without loading them."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from carft.catalog.resolve import ADDRESSES, HUB
from carft.config.cell import DIGEST_MARK
from carft.config.settings import HALF_PRECISIONS
from carft.core.errors import UserError, unknown
from carft.data.icons.world import BUILT_IN_WEIGHTS

if TYPE_CHECKING:
    import torch

#: numbers that the optimiser of the loop keeps of each trained number
OF_OPTIMIZER = 2
#: bytes on a GPU for each trained number: weight, gradient and pretrained weight, and what the optimiser keeps
ON_GPU = 4 * (3 + OF_OPTIMIZER)


@dataclass(frozen=True)
class ModelSize:
    """The size of an image encoder, and of the text encoder beside it."""

    flop: float
    """Floating-point operations of a forward pass on one image."""
    parameters: int
    kept_bytes: int = 0
    """Bytes that a forward pass in float32 keeps for the backward pass, for one image; 0 where unknown."""
    text_parameters: int = 0
    """Parameters of the text encoder; 0 where unknown."""
    text_kept_bytes: int = 0
    """As ``kept_bytes``, of the text encoder for one prompt."""

    @property
    def checkpoint_bytes(self) -> int:
        """Bytes of a checkpoint: of each trained number the weight, and what the optimiser keeps."""
        return 4 * (1 + OF_OPTIMIZER) * self.parameters

    @property
    def with_text(self) -> ModelSize:
        """Both encoders, trained together on a prompt for each image."""
        kept_bytes, parameters = self.kept_bytes + self.text_kept_bytes, self.parameters + self.text_parameters
        return replace(self, kept_bytes=kept_bytes, parameters=parameters)

    def training_bytes(self, images: int, precision: str) -> int:
        """Bytes on a GPU that trains on so many images at a time, an estimate; 0 where unknown."""
        if not self.kept_bytes:
            return 0
        kept = self.kept_bytes
        if precision in HALF_PRECISIONS:  # formats of 16 bits keep half of what float32 keeps
            kept //= 2
        return images * kept + ON_GPU * self.parameters


#: sizes of models that ship with this package, so that a plan for them needs no torch
BUILT_IN_SIZES = {
    "icons-resnet": ModelSize(36_931_584, 1_362_200, 1_101_984, 3_271_425, 136_464),
}


def require_architecture(model: str) -> None:
    """``UserError`` with near misses for an architecture that is not known, and for one with a sigmoid loss."""
    if model.startswith(ADDRESSES) or any(model == name for name, _ in BUILT_IN_WEIGHTS):
        return
    import open_clip

    from carft.models.clip import sigmoid_refused

    if model not in open_clip.list_models():
        if Path(model).is_dir():
            raise UserError(f"'{model}' is a folder, no architecture.", f"Did you mean local-dir:{model}?")
        raise unknown("architecture", model, open_clip.list_models())
    if (open_clip.get_model_config(model) or {}).get("init_logit_bias") is not None:
        raise sigmoid_refused(model)


def find_weights(model: str, pretrained: str) -> str:
    """Return the URL that a cell will download the weights from; empty if they are on this machine.

    Raises ``UserError`` for an unknown model or tag, a missing file, and a download that cannot be reached.
    """
    pretrained = pretrained.partition(DIGEST_MARK)[0]
    built_in = BUILT_IN_WEIGHTS.get((model, pretrained))
    if built_in is not None and built_in.is_file():
        return ""  # without importing torch
    from huggingface_hub import constants

    from carft.models.clip import is_downloaded, reachable, resolve

    _, download, _ = resolve(model, pretrained)
    if not download or is_downloaded(download):
        return ""
    if reachable(constants.ENDPOINT):
        if model.startswith(HUB):
            return model
        return f"{constants.ENDPOINT}/{download['hf_hub'].strip('/')}"
    raise UserError(
        f"The weights '{pretrained}' of '{model}' are not on this machine, and {constants.ENDPOINT} cannot be reached.",
        "Give --pretrained the path of a weights file, or fetch them where there is a network and copy the cache "
        "(~/.cache/huggingface, or what HF_HOME names).",
    )


@cache
def size_of(model: str, pretrained: str = "") -> ModelSize | None:
    """Return the size of a model with these weights; None if it cannot be built or counted on this machine."""
    if model in BUILT_IN_SIZES:
        return BUILT_IN_SIZES[model]
    with suppress(Exception):  # open_clip and timm raise many kinds of errors
        return counted(model, pretrained)
    return None


def counted(model: str, pretrained: str = "") -> ModelSize:
    """Count what a pass of the image encoder takes, on the meta device, without weights or computation.

    pretrained: the tag of weights that need QuickGELU, which keeps more than GELU, or any other.
    """
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    from carft.models.clip import open_clip  # with the built-in architectures

    quick = open_clip.get_pretrained_cfg(model, pretrained).get("quick_gelu", False)
    logging.disable(logging.WARNING)  # open_clip warns that the model has no weights
    try:
        with torch.device("meta"):
            made = open_clip.create_model(model, load_weights=False, device="meta", force_quick_gelu=quick)
    finally:
        logging.disable(logging.NOTSET)
    encoder = made.visual
    side = encoder.image_size if isinstance(encoder.image_size, int) else encoder.image_size[0]
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        encoder.eval()(torch.empty(1, 3, side, side, device="meta"))
    parameters = sum(p.numel() for p in encoder.parameters())
    images, prompts = (3, side, side), (made.context_length,)
    made.train()
    with fused_attention():
        # two inputs minus one: some layers keep tensors of their own size
        kept = _kept(encoder, (2, *images)) - _kept(encoder, (1, *images))
        text_kept = _kept(made.encode_text, (2, *prompts)) - _kept(made.encode_text, (1, *prompts))
    text_parameters = sum(p.numel() for p in made.parameters()) - parameters
    return ModelSize(counter.get_total_flops(), parameters, kept, text_parameters, text_kept)


@contextmanager
def fused_attention() -> Iterator[None]:
    """Within the block attention keeps what fused kernels of a GPU keep, without its matrix of weights.

    On tensors without values torch would choose the kernel that keeps it.
    """
    import torch
    import torch.nn.functional as F

    before = F.scaled_dot_product_attention
    F.scaled_dot_product_attention = lambda query, key, value, *_, **__: (
        torch.ops.aten._scaled_dot_product_flash_attention(query, key, value)[0]
    )
    try:
        yield
    finally:
        F.scaled_dot_product_attention = before


def _kept(encode: Callable[[torch.Tensor], object], shape: tuple[int, ...]) -> int:
    """Bytes of the tensors that a forward pass in training mode keeps for the backward pass, without parameters.

    shape: of images (N, 3, H, W), or of the tokens of prompts (N, length).
    """
    import torch

    kept: dict[int, torch.Tensor] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        whole = tensor if tensor._base is None else tensor._base
        if not isinstance(whole, torch.nn.Parameter):
            kept[whole.untyped_storage()._cdata] = whole
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        encode(torch.zeros(shape, dtype=torch.int64 if len(shape) == 2 else torch.float32, device="meta"))
    return sum(tensor.nbytes for tensor in kept.values())
