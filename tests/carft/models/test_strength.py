"""The strength of a KL term against derivatives of the KL itself, and the command that prints it."""

from __future__ import annotations

import json
import math

import pytest
import torch
import torch.nn.functional as F
from typer.testing import CliRunner

from carft.methods.car_ft import context_divergence
from carft.methods.car_ft_controls import random_rows, rotated_rows
from carft.models.heads import context_logits
from carft.models.strength import temperature_of_entropy, term_strength
from carft_cli.app import app

SCALE = 7.0


def unit(rows: int, width: int, seed: int) -> torch.Tensor:
    drawn = torch.randn(rows, width, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return F.normalize(drawn, dim=-1)


@pytest.mark.parametrize("temperature", [1.0, 2.5])
def test_the_trace_and_rank_are_those_of_the_second_derivative_of_the_kl(temperature: float) -> None:
    features, head = unit(5, 6, 0), unit(4, 6, 1)

    def kl(moved: torch.Tensor, start: torch.Tensor) -> torch.Tensor:
        before, after = (context_logits(v, head, SCALE, temperature) for v in (start, moved))
        return context_divergence(before, after, "pretrained-to-tuned")

    hessians = [torch.autograd.functional.hessian(lambda v, at=at: kl(v, at), at.clone()) for at in features]
    found = term_strength(features, head, SCALE, temperature)
    assert found.fisher_trace == pytest.approx(sum(float(h.trace()) for h in hessians) / 5)
    mean = torch.stack(hessians).mean(0)
    assert found.effective_rank == pytest.approx(float(mean.trace() ** 2 / mean.square().sum()))
    assert 1 <= found.effective_rank <= 3


def test_entropy_and_cosine_of_known_heads() -> None:
    features = torch.eye(3, dtype=torch.float64)
    flat = term_strength(features, torch.eye(3, dtype=torch.float64), 1e-6)
    assert flat.entropy == pytest.approx(math.log(3)) and flat.cosine == 0
    sharp = term_strength(features, torch.eye(3, dtype=torch.float64), 1e3)
    assert sharp.entropy == pytest.approx(0, abs=1e-9) and sharp.fisher_trace == pytest.approx(0, abs=1e-9)
    alone = term_strength(features, torch.eye(3, dtype=torch.float64)[:1], 10.0)
    assert (alone.fisher_trace, alone.effective_rank) == pytest.approx((0, 0), abs=1e-12) and math.isnan(alone.cosine)


def test_a_temperature_gives_the_entropy_that_is_asked_for() -> None:
    features, heads = unit(20, 6, 0), [unit(4, 6, seed) for seed in (1, 2)]
    tau = temperature_of_entropy(features, heads, SCALE, 1.2)
    reached = [term_strength(features, head, SCALE, tau).entropy for head in heads]
    assert sum(reached) / 2 == pytest.approx(1.2, abs=1e-4)
    with pytest.raises(ValueError):
        temperature_of_entropy(features, heads, SCALE, math.log(4) + 0.1)


def test_a_rotated_head_keeps_the_angles_and_random_rows_do_not() -> None:
    head = unit(4, 6, 0).float()
    rotated, again, other = rotated_rows(head, 3), rotated_rows(head, 3), rotated_rows(head, 4)
    assert torch.equal(rotated, again) and not torch.allclose(rotated, other) and not torch.allclose(rotated, head)
    assert torch.allclose(rotated @ rotated.T, head @ head.T, atol=1e-6)
    drawn = random_rows(head, 3)
    assert torch.allclose(drawn.norm(dim=-1), torch.ones(4)) and not torch.allclose(drawn @ drawn.T, head @ head.T)


def test_the_command_says_which_controls_are_not_as_strong() -> None:
    asked = ["model", "head", "--task", "icons-3-full/mix-1", "--draws", "2"]
    done = CliRunner().invoke(app, [*asked, "--json"])
    assert done.exit_code == 0, done.output
    rows = {row["head"]: row for row in json.loads(done.stdout)}
    assert list(rows) == ["contexts", "rotated", "random", "classes", "contexts, softened", "rotated, softened"]
    assert rows["contexts"]["fisher_trace"] == pytest.approx(75.0, abs=0.1) and rows["contexts"]["is_as_strong"]
    assert rows["rotated"]["cosine"] == pytest.approx(rows["contexts"]["cosine"], abs=1e-6)
    assert rows["random"]["trace_ratio"] > 5 and not rows["random"]["is_as_strong"]
    assert rows["contexts, softened"]["entropy"] == pytest.approx(rows["random"]["entropy"], abs=1e-3)
    printed = CliRunner().invoke(app, asked)
    table = [line for line in printed.output.splitlines() if line.startswith(" ")]
    assert len(table) == 7 and max(map(len, table)) <= 80 and "At equal weight" in printed.output
