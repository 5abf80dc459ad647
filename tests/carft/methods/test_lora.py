"""LoRA: the formula by hand, what is trained, and a network like any other at the end."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
import torch.nn.functional as F

from carft.methods.lora import RANK, LowRank
from carft.training.context import CellContext
from carft.training.run import compute
from tests.carft.methods.test_baselines import first_guess, loss_of
from tests.carft.posthoc.test_wise_ft import a_batch


def test_the_update_of_each_stacked_matrix_is_b_times_a() -> None:
    frozen = torch.randn(6, 5, generator=torch.Generator().manual_seed(0))
    update = LowRank(frozen, 3, torch.Generator().manual_seed(1))
    assert torch.equal(update(frozen), frozen)  # B starts at 0
    with torch.no_grad():
        update.up.normal_(generator=torch.Generator().manual_seed(2))
    found = (update(frozen) - frozen).detach().numpy()
    for part in range(3):
        expected = update.up[part].detach().numpy() @ update.down[part].detach().numpy()
        np.testing.assert_allclose(found[2 * part : 2 * part + 2], expected, rtol=1e-4, atol=1e-6)
    assert np.linalg.matrix_rank(found) <= 3 * RANK


def test_the_loss_is_cross_entropy_under_one_drawn_template(bench: CellContext) -> None:
    method, network = loss_of(first_guess("lora"), bench), bench.network()
    method.setup(network, bench.task.train)
    batch = replace(a_batch(bench, network), step=2)
    found = float(method.loss(batch)[0].detach())
    texts = bench.pretrained.text_features(bench.card.classes, bench.card.templates)
    losses = []
    for of_template in texts:
        logits = bench.pretrained.scale * batch.features @ of_template.T
        losses.append(float(F.cross_entropy(logits, batch.labels).detach()))
    assert min(abs(loss - found) for loss in losses) < 1e-3


def test_only_updates_of_attention_are_trained_and_they_end_in_the_weights(bench: CellContext) -> None:
    computed = compute(first_guess("lora", lr=1e-2), bench)
    start, found = bench.network().state_dict(), computed.network.state_dict()
    assert found.keys() == start.keys()
    changed = {name for name, value in found.items() if not torch.equal(value, start[name])}
    of_image = {name for name in changed if name.startswith("visual.")}
    assert of_image and changed - of_image == {"head.weight"}
    for name in of_image:
        assert "attn" in name and any(part in name for part in ("in_proj", "q_proj", "k_proj", "v_proj")), name
        moved = found[name].double() - start[name].double()
        parts = moved.chunk(3) if "in_proj" in name else [moved]
        assert all(int(torch.linalg.matrix_rank(part, rtol=1e-3)) <= RANK for part in parts), name
    assert all(parameter.requires_grad for parameter in computed.network.parameters())
