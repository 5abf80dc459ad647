"""The precisions of a cell: how a forward and backward pass is computed. Weights and optimiser are always float32."""

from __future__ import annotations

import torch

from carft.core.errors import UserError
from carft.spec.cell import HALF_PRECISIONS

#: precision -> the type that autocast computes in
AUTOCAST: dict[str, torch.dtype] = {name: getattr(torch, name) for name in HALF_PRECISIONS}
#: oldest NVIDIA architecture with TensorFloat-32, as (major, minor)
AMPERE = (8, 0)


def autocast(device: str, precision: str) -> torch.autocast:
    """The autocast context of a precision; it does nothing for float32 and tf32. device: cpu or cuda."""
    return torch.autocast(device, AUTOCAST.get(precision, torch.bfloat16), enabled=precision in AUTOCAST)


def use_tf32(wanted: bool) -> None:
    """Whether matrix products and convolutions of this process may use TensorFloat-32 on a GPU."""
    torch.backends.cudnn.allow_tf32 = wanted
    torch.set_float32_matmul_precision("high" if wanted else "highest")


def require_precision(precision: str, device: str) -> None:
    """Raise ``UserError`` if a device cannot compute in a precision. device: cpu or cuda."""
    if precision != "tf32":
        return
    if device == "cpu":
        raise UserError("A CPU has no TensorFloat-32.", "Use --precision float32, which it computes anyway.")
    name, capability = torch.cuda.get_device_name(), torch.cuda.get_device_capability()
    if capability < AMPERE:
        raise UserError(
            f"{name} has no TensorFloat-32: it needs compute capability 8.0 and has {capability[0]}.{capability[1]}.",
            "Use --precision float16 or float32.",
        )
