"""The module that is fine-tuned starts at zero-shot, and its BatchNorm never moves."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from carft.config.cell import Cell
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


def test_train_mode_leaves_batch_statistics_and_outputs_alone(bench: CellContext) -> None:
    network, images = bench.network(), batch(bench)
    before = running_statistics(network)
    expected = network(images)[0]
    network.train()
    assert not any(module.training for module in network.modules())
    assert torch.equal(network(images)[0], expected)
    assert_same(running_statistics(network), before)


@pytest.mark.parametrize("method", ["ft", "car_ft"])
def test_an_epoch_of_training_leaves_batch_statistics_alone(
    bench: CellContext, cells: dict[str, Cell], method: str
) -> None:
    trained = compute(cells[method], bench).network
    assert_same(running_statistics(trained.visual), running_statistics(bench.pretrained.clip.visual))
    assert not torch.equal(trained.head.weight, bench.network().head.weight)


def test_two_half_batches_give_the_gradient_of_the_whole_batch(bench: CellContext) -> None:
    images, labels = batch(bench), bench.task.val.labels[:16]

    def gradient(*slices: slice) -> torch.Tensor:
        network = bench.network()
        for part in slices:
            (F.cross_entropy(network(images[part])[0], labels[part]) / len(slices)).backward()
        return torch.cat([p.grad.flatten() for p in network.parameters() if p.grad is not None])

    whole, halves = gradient(slice(0, 16)), gradient(slice(0, 8), slice(8, 16))
    assert float((whole - halves).norm() / whole.norm()) < 1e-4
