"""GPU cards whose peak speed is known."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from carft.core.errors import unknown


@dataclass(frozen=True)
class GpuCard:
    """Dense peak of a card in floating-point operations per second, by precision, from its maker's data sheet."""

    bfloat16: float
    """Of tensor cores, without sparsity; that of float16 is the same."""
    tf32: float
    float32: float
    source: str

    def peak(self, precision: str) -> float:
        """The peak at a precision of an execution."""
        return {"float32": self.float32, "tf32": self.tf32}.get(precision, self.bfloat16)


#: part of the name that CUDA gives -> the card; a longer name comes before one that it contains
CARDS: Mapping[str, GpuCard] = {
    "H200": GpuCard(989e12, 494e12, 67e12, "NVIDIA H200 data sheet, SXM"),
    "H100 PCIe": GpuCard(756e12, 378e12, 51e12, "NVIDIA H100 data sheet, PCIe"),
    "H100": GpuCard(989e12, 494e12, 67e12, "NVIDIA H100 data sheet, SXM"),
    "A100": GpuCard(312e12, 156e12, 19.5e12, "NVIDIA A100 data sheet"),
    "L40S": GpuCard(362e12, 183e12, 91.6e12, "NVIDIA L40S data sheet"),
    "L4": GpuCard(121e12, 60e12, 30.3e12, "NVIDIA L4 data sheet"),
    "A10G": GpuCard(70e12, 35e12, 31.2e12, "NVIDIA A10G data sheet"),
    "RTX 4090": GpuCard(165e12, 82.6e12, 82.6e12, "NVIDIA Ada architecture white paper"),
}


def card_of(gpu: str) -> GpuCard | None:
    """Return the card that a name of CUDA such as ``NVIDIA H100 80GB HBM3`` stands for; None if it is not known."""
    words = f" {gpu.replace('-', ' ').lower()} "
    return next((card for name, card in CARDS.items() if f" {name.lower()} " in words), None)


def require_card(gpu: str) -> None:
    """Raise ``UserError`` with near misses for a card that is not known."""
    if card_of(gpu) is None:
        raise unknown("GPU card", gpu, CARDS)
