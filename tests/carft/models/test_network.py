"""The heads, their divergence, and what of the network is trained."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from carft.catalog.catalog import BUILT_IN
from carft.config.cell import Cell
from carft.config.settings import DIRECTIONS, KlDirection
from carft.methods.car_ft import context_divergence
from carft.models.heads import class_head, context_head, context_logits
from carft.training.context import CellContext
from carft.training.run import compute


def batch(bench: CellContext, count: int = 16) -> torch.Tensor:
    return bench.pretrained.normalise(bench.task.val.images[:count])


def running_statistics(module: torch.nn.Module) -> dict[str, torch.Tensor]:
    """BatchNorm's buffers, copied."""
    buffers = module.state_dict()
    return {
        k: v.clone() for k, v in buffers.items() if k.endswith(("running_mean", "running_var", "num_batches_tracked"))
    }


def assert_same(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> None:
    assert first.keys() == second.keys()
    assert first
    for name, value in first.items():
        assert torch.equal(value, second[name]), name


@torch.inference_mode()
def test_a_new_network_is_the_zero_shot_classifier(bench: CellContext) -> None:
    images = batch(bench)
    features = F.normalize(bench.pretrained.clip.encode_image(images), dim=-1)
    logits, found = bench.network()(images)
    torch.testing.assert_close(found, features)
    torch.testing.assert_close(
        logits, bench.pretrained.scale * features @ bench.prompts.classes.T, rtol=1e-5, atol=1e-4
    )
    assert float(bench.network().head.bias.abs().sum()) == 0


@torch.inference_mode()
def test_the_zero_shot_class_head_is_clip_s_own_prompt_ensemble(bench: CellContext) -> None:
    """Each class against the text features that the whole CLIP model gives, one prompt at a time."""
    clip, tokenize = bench.pretrained.clip, bench.pretrained.tokenize
    for row in (0, len(bench.card.classes) - 1):
        prompts = [template.format(bench.card.classes[row]) for template in bench.card.templates]
        encoded = torch.stack([F.normalize(clip.encode_text(tokenize([p])), dim=-1)[0] for p in prompts])
        torch.testing.assert_close(bench.prompts.classes[row], F.normalize(encoded.mean(0), dim=-1))


def test_trained_are_the_image_encoder_and_the_class_head_and_nothing_else(bench: CellContext) -> None:
    trained = {name for name, p in bench.network().named_parameters() if p.requires_grad}
    visual = {f"visual.{name}" for name, _ in bench.pretrained.clip.visual.named_parameters()}
    assert trained == visual | {"head.weight", "head.bias"}
    assert not any(p.requires_grad for p in bench.pretrained.clip.parameters())


def test_an_epoch_of_training_leaves_batch_statistics_alone(bench: CellContext, cells: dict[str, Cell]) -> None:
    trained = compute(cells["car_ft"], bench).network
    assert_same(running_statistics(trained.visual), running_statistics(bench.pretrained.clip.visual))
    assert not torch.equal(trained.head.weight, bench.network().head.weight)


# T[k, c]: two templates, two classes, two dimensions
TEXT = torch.tensor([[[1.0, 0.0], [0.0, 1.0]], [[1.0, 0.0], [1.0, 0.0]]])
P = torch.tensor([[0.75, 0.25]], dtype=torch.float64).log()
Q = torch.tensor([[0.5, 0.5]], dtype=torch.float64).log()

#: 3/4 ln 3/2 + 1/4 ln 1/2, then 1/2 ln 2/3 + 1/2 ln 2, then their mean
BY_HAND: dict[KlDirection, float] = {
    "pretrained-to-tuned": 0.1308120357,
    "tuned-to-pretrained": 0.1438410362,
    "symmetric": 0.1373265360,
}


def logits(batch: int = 3, templates: int = 4) -> st.SearchStrategy[torch.Tensor]:
    numbers = st.lists(st.floats(-50, 50), min_size=batch * templates, max_size=batch * templates)
    return numbers.map(lambda values: torch.tensor(values, dtype=torch.float64).view(batch, templates))


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_the_class_head_is_the_normalised_mean_over_templates() -> None:
    expected = torch.tensor([[1.0, 0.0], [0.70710678, 0.70710678]])
    torch.testing.assert_close(class_head(TEXT), expected)


def test_the_context_head_is_the_normalised_mean_over_classes() -> None:
    expected = torch.tensor([[0.70710678, 0.70710678], [1.0, 0.0]])
    torch.testing.assert_close(context_head(TEXT), expected)


def test_rows_are_normalised_one_by_one() -> None:
    text = random(5, 7, 6)
    for head, rows in ((class_head(text), 7), (context_head(text), 5)):
        torch.testing.assert_close(head.norm(dim=1), torch.ones(rows, dtype=torch.float64))


def test_context_logits_hold_scale_and_temperature() -> None:
    found = context_logits(torch.tensor([[1.0, 0.0]]), context_head(TEXT), scale=4.0, temperature=2.0)
    torch.testing.assert_close(found, torch.tensor([[1.41421356, 2.0]]))


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_the_divergence_has_the_value_worked_out_by_hand(direction: KlDirection) -> None:
    assert context_divergence(P, Q, direction).tolist() == pytest.approx([BY_HAND[direction]], abs=1e-9)


@pytest.mark.parametrize("direction", DIRECTIONS)
@given(logits(), st.floats(-20, 20))
def test_the_divergence_of_equal_distributions_is_zero(
    direction: KlDirection, first: torch.Tensor, shift: float
) -> None:
    """Logits that differ by a constant are the same distribution."""
    assert torch.equal(context_divergence(first, first, direction), torch.zeros(3, dtype=torch.float64))
    assert context_divergence(first, first + shift, direction).abs().max() < 1e-9


@given(logits(), logits())
def test_the_divergence_agrees_with_torch(first: torch.Tensor, second: torch.Tensor) -> None:
    expected = F.kl_div(second.log_softmax(-1), first.log_softmax(-1), reduction="none", log_target=True).sum(-1)
    torch.testing.assert_close(context_divergence(first, second, "pretrained-to-tuned"), expected)


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_the_gradient_is_right(direction: KlDirection) -> None:
    frozen, tuned = random(3, 5, seed=1), random(3, 5, seed=2).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: context_divergence(frozen, x, direction), (tuned,))


def test_one_template_is_warned_about_and_two_are_not() -> None:
    usual = BUILT_IN.card("icons-3/mix-7")
    assert "car_ft is ft" in " ".join(replace(usual, banks={"standard": ("a photo of a {}.",)}).warnings())
    assert usual.warnings() == []


def test_without_the_logit_scale_the_context_distribution_is_nearly_uniform(bench: CellContext) -> None:
    images = bench.pretrained.normalise(bench.task.val.images[:32])
    features = F.normalize(bench.pretrained.clip.visual(images), dim=-1)

    def evenness(scale: float) -> float:
        """Entropy as a share of the largest there can be."""
        log_p = context_logits(features, bench.prompts.contexts, scale, 1.0).log_softmax(-1)
        entropy = -(log_p.exp() * log_p).sum(-1).mean()
        return float(entropy / torch.tensor(float(len(bench.prompts.contexts))).log())

    assert evenness(1.0) > 0.97
    assert evenness(bench.pretrained.scale) < 0.6
