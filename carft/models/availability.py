"""Before anything is loaded: whether a model's weights can be had here, and how large the model is."""

from __future__ import annotations

import logging
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from carft.core.errors import UserError, unknown
from carft.data.icons.world import BUILT_IN_WEIGHTS
from carft.spec.cell import DIGEST_MARK
from carft.spec.resolve import ADDRESSES, RANDOM

HUB = "hf-hub:"
#: where open_clip keeps what it downloads from elsewhere than the hub
DOWNLOADED = Path("~/.cache/clip")


@dataclass(frozen=True)
class ModelSize:
    """What an image costs: floating-point operations of the image encoder on one image, and its parameters."""

    flop: float
    parameters: int


#: of models that ship with this package, so that a plan for them needs no torch
BUILT_IN_SIZES = {"icons-resnet": ModelSize(36_931_584, 1_362_200)}


def require_architecture(model: str) -> None:
    """``UserError`` with near misses for the name of an architecture that is not known."""
    if model.startswith(ADDRESSES) or any(model == name for name, _ in BUILT_IN_WEIGHTS):
        return
    import open_clip

    from carft.models.clip import register_built_in

    register_built_in()
    if model not in open_clip.list_models():
        raise unknown("architecture", model, open_clip.list_models())


def find_weights(model: str, pretrained: str) -> str:
    """Nothing when the weights are on this machine, else where they will be downloaded from when a cell needs them.

    ``UserError`` for an unknown model or tag, a missing file, and weights that are not here while the place to get them
    cannot be reached.
    """
    pretrained = pretrained.partition(DIGEST_MARK)[0]
    built_in = BUILT_IN_WEIGHTS.get((model, pretrained))
    if built_in is not None and built_in.is_file():
        return ""  # the common case, without torch
    from carft.models.clip import reachable, register_built_in, resolve

    register_built_in()
    source, _ = resolve(model, pretrained)
    if isinstance(source, Path) or source == RANDOM:
        return ""
    if source.startswith("local-dir:"):
        folder = source.removeprefix("local-dir:")
        raise UserError(f"There are no weights in '{folder}'.", "It must be a folder in open_clip's format.")
    place, address, found = _looked_up(model, source)
    if found:
        return ""
    if reachable(address):
        return place
    raise UserError(
        f"The weights '{pretrained}' of '{model}' are not on this machine, and {address} cannot be reached.",
        "Give --pretrained the path of a weights file, or fetch them where there is a network and copy the cache "
        "(~/.cache/huggingface, or what HF_HOME names).",
    )


def _looked_up(model: str, tag: str) -> tuple[str, str, bool]:
    """(where the weights come from, the address to reach for it, whether they are in the cache)."""
    import open_clip
    from huggingface_hub import constants

    if model.startswith(HUB):
        repository = model.removeprefix(HUB)
        return model, constants.ENDPOINT, _in_hub_cache({"hf_hub": f"{repository}/"})
    config = open_clip.get_pretrained_cfg(model, tag)
    if repository := config.get("hf_hub"):
        return f"{constants.ENDPOINT}/{repository.strip('/')}", constants.ENDPOINT, _in_hub_cache(config)
    url = config.get("url", "")
    return url, url, (DOWNLOADED.expanduser() / Path(url).name).is_file()


def _in_hub_cache(config: dict[str, str]) -> bool:
    import open_clip
    from huggingface_hub import constants

    before, constants.HF_HUB_OFFLINE = constants.HF_HUB_OFFLINE, True
    try:
        return bool(open_clip.download_pretrained(config))
    except FileNotFoundError:
        return False
    finally:
        constants.HF_HUB_OFFLINE = before


@cache
def size_of(model: str) -> ModelSize | None:
    """The size of a model, counted on an empty one; None where it cannot be built or counted here."""
    if model in BUILT_IN_SIZES:
        return BUILT_IN_SIZES[model]
    with suppress(Exception):  # open_clip and timm raise many kinds; a plan then says that the size is not known
        return counted(model)
    return None


def counted(model: str) -> ModelSize:
    """Count one forward pass of the image encoder, on no device: nothing is computed, no weights are needed."""
    import open_clip
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    from carft.models.clip import register_built_in

    register_built_in()
    logging.disable(logging.WARNING)  # open_clip warns that the model has no weights
    try:
        with torch.device("meta"):
            encoder = open_clip.create_model(model, load_weights=False, device="meta").visual
    finally:
        logging.disable(logging.NOTSET)
    side = encoder.image_size if isinstance(encoder.image_size, int) else encoder.image_size[0]
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        encoder.eval()(torch.empty(1, 3, side, side, device="meta"))
    return ModelSize(counter.get_total_flops(), sum(p.numel() for p in encoder.parameters()))
