"""CLIP models, loaded with open_clip. Checkpoints are loaded with ``weights_only``."""

import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies

import open_clip
import torch
import torch.nn.functional as F
from huggingface_hub import constants
from torch.nn.utils import convert_conv2d_weight_memory_format

from carft.catalog.resolve import (
    ADDRESSES,
    HUB,
    QUICK,
    RANDOM,
    SHARED_CONFIG,
    SHARED_WEIGHTS,
    configuration_digest,
)
from carft.config.cell import DIGEST_MARK, LOCAL_DIR
from carft.core.errors import UserError, unknown
from carft.core.files import file_digest
from carft.core.heartbeat import beating
from carft.data.icons.world import BUILT_IN_WEIGHTS, WEIGHTS_FOLDER

#: timeout in seconds of a connection to the hub
PROBE_SECONDS = 3.0
#: seconds for which a download counts as progress
DOWNLOAD_SECONDS = 1800.0
open_clip.add_model_config(WEIGHTS_FOLDER)  # the built-in architectures


@dataclass(frozen=True)
class Pretrained:
    """A pretrained CLIP model and the preprocessing of its images."""

    name: str
    clip: Any
    """The frozen model, in eval mode."""
    tokenize: Callable[[list[str]], torch.Tensor]
    scale: float
    """exp(logit_scale)."""
    mean: tuple[float, float, float]
    """Mean per channel of pixels in [0, 1], for normalisation."""
    std: tuple[float, float, float]
    """Standard deviation per channel."""
    side: int
    """Height and width of the input in pixels."""
    digest: str
    """sha256 of the weights file, or the tag of the weights."""
    configuration: str = ""
    """Digest of the configuration in a model folder; empty for other models."""

    @property
    def width(self) -> int:
        """Number of embedding dimensions D."""
        if hasattr(self.clip.visual, "output_dim"):
            return int(self.clip.visual.output_dim)
        parameter = next(self.clip.parameters())
        image = torch.zeros(1, 3, self.side, self.side, device=parameter.device, dtype=parameter.dtype)
        with torch.no_grad():
            return self.clip.encode_image(image).shape[-1]  # an image tower of timm does not say

    def normalise(self, images: torch.Tensor) -> torch.Tensor:
        """Return uint8 images (B, 3, H, W) as normalised float32, channels last."""
        mean, std = _channels(self.mean, images.device), _channels(self.std, images.device)
        return images.contiguous(memory_format=torch.channels_last).float().div_(255).sub_(mean).div_(std)

    @torch.no_grad()
    def text_features(self, classes: Sequence[str], templates: Sequence[str]) -> torch.Tensor:
        """Return T (K, C, D): T[k, c] are the L2-normalised text features of template k filled with class c."""
        device = next(self.clip.parameters()).device
        rows = []
        for template in templates:
            tokens = self.tokenize([template.format(name) for name in classes]).to(device)
            rows.append(F.normalize(self.clip.encode_text(tokens).float(), dim=-1))
        return torch.stack(rows)


@lru_cache(maxsize=8)
@torch.inference_mode(False)  # training uses it too
def _channels(values: tuple[float, float, float], device: torch.device) -> torch.Tensor:
    """(3, 1, 1) on a device, copied there once: a copy from pageable memory waits for the device."""
    return torch.tensor(values, device=device).view(3, 1, 1)


def with_activation(model: str, pretrained: str, activation: str | None) -> str:
    """Return the name of the model with the activation that its weights need.

    OpenAI's weights were trained with QuickGELU, most others with GELU. The wrong activation gives wrong numbers
    without an error. open_clip knows the activation of its tags. Raises ``UserError`` for a weights file without
    ``activation``.
    """
    twin = f"{model}{QUICK}"
    if not Path(pretrained).is_file() or twin not in open_clip.list_models():
        return model
    if activation not in ("gelu", "quickgelu"):
        raise UserError(
            f"The weights file '{pretrained}' does not state whether it needs GELU or QuickGELU, and the wrong one "
            "gives wrong numbers silently.",
            "Give --activation quickgelu for weights that descend from OpenAI's, --activation gelu for others.",
        )
    if activation == "quickgelu":
        return twin
    return model


@lru_cache(maxsize=2)
def load_pretrained(model: str, pretrained: str) -> Pretrained:
    """Load a model with weights.

    pretrained: a tag of open_clip, a file, ``random`` (drawn from seed 0), or the name of the model if that is an
    address with weights (``hf-hub:<repository>``, ``local-dir:<folder>``).

    Raises ``UserError`` for an unknown model or tag, a missing or changed file, weights that do not fit, and a hub that
    cannot be reached.
    """
    pretrained, _, wanted = pretrained.partition(DIGEST_MARK)
    if not pretrained:
        raise UserError(
            f"Model '{model}' was asked for without pretrained weights.",
            "CAR-FT starts from a pretrained CLIP; give --pretrained a tag or the path of a weights file.",
        )
    file, download, options = resolve(model, pretrained)
    # a hub that cannot be reached is tried again for half a minute
    offline = bool(download) and not constants.HF_HUB_OFFLINE and not reachable(constants.ENDPOINT)
    with hub_offline(offline), torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)  # which random weights are drawn from
        try:
            if download and not constants.HF_HUB_OFFLINE and not is_downloaded(download):
                with beating(DOWNLOAD_SECONDS):  # or waiting for the hub's lock, which another process holds
                    open_clip.download_pretrained(download)
            clip, _, _ = open_clip.create_model_and_transforms(model, **options)
            tokenize = open_clip.get_tokenizer(model)
        except Exception as error:  # open_clip raises many kinds of errors
            reason = (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
            raise UserError(
                f"The weights '{pretrained}' of '{model}' could not be loaded: {reason}.",
                "Give --pretrained the path of a weights file on this machine, or run where the hub can be reached.",
            ) from error
    if getattr(clip, "logit_bias", None) is not None:
        raise sigmoid_refused(model)
    if getattr(clip.visual, "output_tokens", False):
        clip.visual.output_tokens = False  # CoCa's tower returns the tokens for its decoder, too
    convert_conv2d_weight_memory_format(clip.eval().requires_grad_(False), torch.channels_last)
    config = open_clip.get_model_preprocess_cfg(clip)
    side = config["size"] if isinstance(config["size"], int) else config["size"][0]
    digest = pretrained
    if file:
        digest = file_digest(file)
    if wanted and digest != wanted:
        raise UserError(
            f"The weights file '{pretrained}' is not the one this cell was specified with: its sha256 is {digest}, "
            f"the cell's is {wanted}.",
            "Put that file back, or specify a new cell with --pretrained PATH.",
        )
    scale = float(clip.logit_scale.exp())
    mean = tuple(config["mean"])
    std = tuple(config["std"])
    configuration = ""
    if model.startswith(LOCAL_DIR):
        configuration = configuration_digest(model.removeprefix(LOCAL_DIR))
    return Pretrained(model, clip, tokenize, scale, mean, std, side, digest, configuration)


def is_downloaded(download: dict[str, Any]) -> bool:
    """Return whether the weights are on this machine. download: of :func:`resolve`."""
    with hub_offline(), suppress(FileNotFoundError):
        return bool(open_clip.download_pretrained(download))
    return False


def sigmoid_refused(model: str) -> UserError:
    """Return the error for a model that was trained with a sigmoid loss, such as SigLIP."""
    return UserError(
        f"'{model}' was trained with a sigmoid loss: it scores each pair of image and text by itself, with a bias.",
        "CAR-FT compares softmax distributions over contexts and classes, which such a model does not have; take a "
        "model with a contrastive loss.",
    )


def resolve(model: str, pretrained: str) -> tuple[Path | None, dict[str, Any], dict[str, Any]]:
    """Return the file of the weights, if they are one, what open_clip downloads, and the options for open_clip.

    Of what is downloaded ``hf_hub`` is the repository on the hub; it is empty for files and random weights.

    Raises ``UserError`` for an unknown model or tag and for a missing file.
    """
    if model.startswith(ADDRESSES):
        if pretrained != model:
            raise UserError(f"'{model}' has its own weights.", "Leave --pretrained out.")
        if model.startswith(HUB):
            return None, {"hf_hub": f"{model.removeprefix(HUB)}/"}, {"require_pretrained": True}
        folder = Path(model.removeprefix(LOCAL_DIR))
        for name in (SHARED_WEIGHTS, SHARED_CONFIG):
            if not (folder / name).is_file():
                raise UserError(
                    f"There are no weights in '{folder}' that can be read: it has no file {name}.",
                    f"It must be a folder in open_clip's format, with {SHARED_CONFIG} and {SHARED_WEIGHTS}.",
                )
        return folder / SHARED_WEIGHTS, {}, {"require_pretrained": True}
    if model not in open_clip.list_models():
        raise unknown("architecture", model, open_clip.list_models())
    if pretrained == RANDOM:
        return None, {}, {}
    if (model, pretrained) in BUILT_IN_WEIGHTS:
        path = BUILT_IN_WEIGHTS[model, pretrained]
        if not path.is_file():
            raise UserError(f"The built-in weights are missing: {path}.", "Install the project again.")
        return path, {}, {"pretrained": str(path), "require_pretrained": True}
    if Path(pretrained).suffix or "/" in pretrained:
        if not Path(pretrained).is_file():
            raise UserError(
                f"There is no weights file '{pretrained}'.",
                "Check the path given to --pretrained. Records name a file without its path; it is then looked for in "
                "the folder that the command runs in.",
            )
        return Path(pretrained), {}, {"pretrained": pretrained, "require_pretrained": True}
    tags = [*open_clip.list_pretrained_tags_by_model(model)]
    tags += [tag for built_in, tag in BUILT_IN_WEIGHTS if built_in == model]
    if pretrained not in tags:
        raise unknown(f"weights tag of {model}", pretrained, tags)
    download = open_clip.get_pretrained_cfg(model, pretrained)
    quick = bool(download.get("quick_gelu", False))
    return None, download, {"pretrained": pretrained, "require_pretrained": True, "force_quick_gelu": quick}


@contextmanager
def hub_offline(wanted: bool = True) -> Iterator[None]:
    """Restrict the hub client to its cache within the block, if wanted."""
    before = constants.HF_HUB_OFFLINE
    constants.HF_HUB_OFFLINE = before or wanted
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = before


def reachable(address: str) -> bool:
    """Return whether a server accepts connections at an address, or at the proxy for it."""
    url = urlsplit(getproxies().get("https") or address)
    try:
        port = url.port or (443 if url.scheme == "https" else 80)
        socket.create_connection((url.hostname or "", port), timeout=PROBE_SECONDS).close()
    except OSError:
        return False
    return True
