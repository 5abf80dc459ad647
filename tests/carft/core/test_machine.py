"""GPU cards whose speed is known."""

from __future__ import annotations

import pytest

from carft.core.machine import slowest_card


@pytest.mark.parametrize(
    ("names", "slowest"),
    [
        (["H100", "A100", "H200"], "A100"),
        (["NVIDIA-H100"], "NVIDIA-H100"),
        (["GeForce-RTX-4090", "L40S"], "GeForce-RTX-4090"),
        (["H100", "Unknown-9000"], ""),
        (["H100", ""], ""),
        ([], ""),
    ],
)
def test_the_slowest_of_the_cards_that_ray_names_counts_where_all_are_known(names: list[str], slowest: str) -> None:
    assert slowest_card(names) == slowest
