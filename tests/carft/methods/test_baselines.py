"""The baselines and controls: their losses by hand, their null checks, and that nothing of them is left behind."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy.optimize import brentq
from scipy.special import expit, log_softmax

from carft.catalog.catalog import BUILT_IN
from carft.config.cell import Cell, Training
from carft.config.registry import METHODS
from carft.core.errors import UserError
from carft.core.heartbeat import on_heartbeat
from carft.core.rng import PERMUTATION, generator
from carft.methods import linear_probe
from carft.methods.ft import Batch, FineTune
from carft.methods.linear_probe import logistic_regression
from carft.models.network import Network, embed
from carft.posthoc.wise_ft import run_curve
from carft.store.records import Store
from carft.training.context import CellContext
from carft.training.execution import Execution
from carft.training.run import Computed, compute, require_runnable, run_cell
from sweeps.recipes.loading import load_recipe
from sweeps.search.study import studies_of
from tests.carft.posthoc.test_wise_ft import a_batch
from tests.support.helpers import LR, quick_cell, same_predictions

#: method -> its weight and the part of the loss that it weighs
PENALISED = {
    "l2_sp": ("l2_weight", "moved"),
    "kd": ("kl_weight", "class_kl"),
    "feature_kd": ("distance_weight", "distance"),
    "lipsum_ft": ("energy_weight", "energy_gap"),
    "car_ft_permuted": ("kl_weight", "kl"),
    "car_ft_random": ("kl_weight", "kl"),
}
NEW = ("linear_probe", "lp_ft", "flyp", "carot", "lora", *PENALISED)
#: the methods that differ most: a probe before training, a loss of its own, a penalty
MOST = ("lp_ft", "flyp", "kd")


def first_guess(method: str, seed: int = 0, epochs: int = 1, **change: float) -> Cell:
    """A quick cell at the method's first guess."""
    guess = {name: limits.first_guess for name, limits in METHODS[method].space.items()}
    return quick_cell(method, seed, epochs, None, **{**guess, **change})


def loss_of(cell: Cell, bench: CellContext) -> FineTune:
    return BUILT_IN.method(cell.method).load()(cell, bench.pretrained, bench.prompts)


def moved(bench: CellContext) -> Network:
    """A network away from its start."""
    network = bench.network()
    with torch.no_grad():
        for p in network.visual.parameters():
            p.mul_(1.02)
    return network


def loss_by_hand(batch: Batch, penalty: float) -> float:
    """Cross-entropy in numpy, and a penalty."""
    classes = log_softmax(batch.logits.detach().double().numpy(), axis=1)
    return float(penalty - classes[np.arange(len(batch.labels)), batch.labels.numpy()].mean())


def numpy_features(batch: Batch) -> tuple[np.ndarray, np.ndarray]:
    """Tuned and pretrained features (B, D)."""
    return batch.features.detach().double().numpy(), batch.pretrained_features().double().numpy()


def divergence(p: np.ndarray, q: np.ndarray) -> float:
    """Mean KL of two batches of logits."""
    p, q = log_softmax(p, axis=1), log_softmax(q, axis=1)
    return float((np.exp(p) * (p - q)).sum(1).mean())


@pytest.fixture(scope="module")
def start(bench: CellContext) -> dict[str, torch.Tensor]:
    """The pretrained model before anything of this module was trained."""
    return {name: value.clone() for name, value in bench.pretrained.clip.state_dict().items()}


@pytest.fixture(scope="module")
def trained(start: dict[str, torch.Tensor], bench: CellContext) -> dict[str, Computed]:
    """Every new method after one epoch at its first guess."""
    return {method: compute(first_guess(method), bench) for method in NEW}


@pytest.fixture(scope="module")
def ft(bench: CellContext) -> Computed:
    """Fine-tuning at the same rate."""
    return compute(first_guess("ft"), bench)


@pytest.mark.parametrize("method", PENALISED)
def test_weight_zero_is_ft_bit_for_bit(bench: CellContext, ft: Computed, method: str) -> None:
    found = compute(first_guess(method, **{PENALISED[method][0]: 0.0}), bench)
    assert same_predictions(found.predictions, ft.predictions)
    assert [row["train/loss"] for row in found.history] == [row["train/loss"] for row in ft.history]


@pytest.mark.parametrize("method", [name for name in PENALISED if name != "car_ft_permuted"])
def test_the_penalty_is_zero_at_the_first_step_and_positive_later(trained, method: str) -> None:
    values = [row[f"train/{PENALISED[method][1]}"] for row in trained[method].history]
    assert abs(values[0]) <= 1e-6
    assert min(values[1:]) > 1e-6


@pytest.mark.parametrize("method", NEW)
def test_a_trained_network_holds_what_a_zero_shot_one_holds_and_no_more(
    trained, bench: CellContext, method: str
) -> None:
    network, start = trained[method].network, bench.network()
    assert network.state_dict().keys() == start.state_dict().keys()
    assert [n for n, _ in network.named_modules()] == [n for n, _ in start.named_modules()]
    assert all(p.requires_grad for p in network.parameters())
    assert not torch.equal(network.head.weight, start.head.weight)
    assert np.isfinite(trained[method].predictions.logits).all()


@pytest.mark.parametrize("method", MOST)
def test_training_leaves_the_pretrained_model_and_later_cells_alone(
    trained, start: dict[str, torch.Tensor], bench: CellContext, method: str
) -> None:
    """The same cell, as a later cell of the same process, after cells of all methods."""
    again = compute(first_guess(method), bench)
    assert same_predictions(trained[method].predictions, again.predictions)
    assert trained[method].history == again.history
    after = bench.pretrained.clip.state_dict()
    assert start.keys() == after.keys()
    assert all(torch.equal(value, after[name]) for name, value in start.items())
    assert not any(p.requires_grad for p in bench.pretrained.clip.parameters())


@pytest.mark.parametrize("method", ["flyp", "carot", "lora", "kd"])
def test_a_batch_in_parts_has_the_loss_and_gradient_of_the_whole_batch(
    trained, bench: CellContext, method: str
) -> None:
    """Images of all parts are compared with each other: FLYP's contrasts inside the parts alone give a smaller loss."""
    parts = replace(bench, execution=Execution(accumulation=3))
    found, whole = compute(first_guess(method), parts).history, trained[method].history
    for column in ("train/loss", "grad_norm", *(f"train/{part}" for part in PENALISED.get(method, ())[1:])):
        np.testing.assert_allclose(
            [row[column] for row in found], [row[column] for row in whole], rtol=5e-3, atol=1e-3, err_msg=column
        )


def test_flyp_clips_nothing_whatever_the_recipe_says(bench: CellContext) -> None:
    cell = first_guess("flyp")
    assert cell.training.clip == METHODS["flyp"].own_training["clip"] and first_guess("ft").training.clip == 1.0
    assert max(row["grad_norm"] for row in compute(cell, bench).history) > 1.0
    (study,) = studies_of(load_recipe("miniature").changed([cell.task], ["flyp"]), [METHODS["flyp"]])
    assert study.content["training"]["clip"] == METHODS["flyp"].own_training["clip"]
    assert study.cell({"lr": 1e-4}, 0).training.clip == METHODS["flyp"].own_training["clip"]


@pytest.mark.parametrize("method", ["car_ft_permuted"])
@pytest.mark.parametrize("execution", [Execution(workers=2), Execution(accumulation=2)])
def test_losses_that_compare_images_refuse_to_be_computed_in_parts(method: str, execution: Execution) -> None:
    with pytest.raises(UserError, match="one piece"):
        require_runnable(first_guess(method), execution, catalog=BUILT_IN)


def test_l2_sp_by_hand(bench: CellContext) -> None:
    batch = a_batch(bench, moved(bench))
    loss, parts = loss_of(first_guess("l2_sp", l2_weight=0.3), bench).loss(batch)
    start = bench.pretrained.clip.visual.named_parameters()
    distance = sum(float(((0.02 * value.double().numpy()) ** 2).sum()) for _, value in start)
    assert float(parts["moved"]) == pytest.approx(distance, rel=1e-4)
    assert float(loss.detach()) == pytest.approx(loss_by_hand(batch, 0.15 * distance), rel=1e-4)


def test_kd_by_hand(bench: CellContext) -> None:
    batch = a_batch(bench, moved(bench))
    loss, parts = loss_of(first_guess("kd", kl_weight=2.0), bench).loss(batch)
    teacher = bench.pretrained.scale * numpy_features(batch)[1] @ bench.prompts.classes.double().numpy().T
    expected = divergence(teacher, batch.logits.detach().double().numpy())
    assert expected > 1e-3
    assert float(parts["class_kl"]) == pytest.approx(expected, rel=1e-3)
    assert float(loss.detach()) == pytest.approx(loss_by_hand(batch, 2 * expected), rel=1e-4)


def test_feature_kd_by_hand(bench: CellContext) -> None:
    batch = a_batch(bench, moved(bench))
    loss, parts = loss_of(first_guess("feature_kd", distance_weight=5.0), bench).loss(batch)
    tuned, start = numpy_features(batch)
    expected = float(((tuned - start) ** 2).sum(1).mean())
    assert expected > 1e-4
    assert float(parts["distance"]) == pytest.approx(expected, rel=1e-4)
    assert float(loss.detach()) == pytest.approx(loss_by_hand(batch, 5 * expected), rel=1e-4)


def test_lipsum_ft_by_hand(bench: CellContext) -> None:
    batch = replace(a_batch(bench, moved(bench)), step=7)
    method = loss_of(first_guess("lipsum_ft", energy_weight=0.5), bench)
    loss, parts = method.loss(batch)
    with torch.no_grad():
        raw = bench.pretrained.clip.encode_text(method.tokens(7)).double().numpy()
    texts = raw / np.linalg.norm(raw, axis=1, keepdims=True)
    energies = [bench.pretrained.scale * features @ texts.T for features in numpy_features(batch)]
    expected = float(((energies[0] - energies[1]) ** 2).sum(1).mean() / (2 * 80))
    assert expected > 1e-3
    assert float(parts["energy_gap"]) == pytest.approx(expected, rel=1e-4)
    assert float(loss.detach()) == pytest.approx(loss_by_hand(batch, 0.5 * expected), rel=1e-4)


def test_random_texts_are_start_eight_tokens_end_and_a_function_of_seed_and_step(bench: CellContext) -> None:
    tokens = loss_of(first_guess("lipsum_ft"), bench).tokens
    rows = tokens(0)
    empty = bench.pretrained.tokenize([""])[0]
    assert rows.shape == (80, len(empty))
    assert (rows[:, 0] == empty[0]).all() and (rows[:, 9] == empty[1]).all() and (rows[:, 10:] == 0).all()
    assert int(rows[:, 1:9].max()) < int(empty[0])
    assert len(torch.unique(rows[:, 1:9])) > 500
    assert torch.equal(rows, tokens(0))
    assert not torch.equal(rows, tokens(1))
    assert not torch.equal(rows, loss_of(first_guess("lipsum_ft", seed=1), bench).tokens(0))


def test_lipsum_ft_refuses_another_vocabulary(bench: CellContext) -> None:
    foreign = replace(bench.pretrained, tokenize=lambda texts: bench.pretrained.tokenize(texts))
    with pytest.raises(UserError, match="vocabulary"):
        BUILT_IN.method("lipsum_ft").load()(first_guess("lipsum_ft"), foreign, bench.prompts)


def test_permuted_contexts_by_hand(bench: CellContext) -> None:
    batch = replace(a_batch(bench, moved(bench)), step=5)
    cell = first_guess("car_ft_permuted", seed=2, kl_weight=2.0)
    loss, _ = loss_of(cell, bench).loss(batch)
    tuned, start = numpy_features(batch)
    shuffled = generator(2, 5, PERMUTATION).permutation(len(start))
    assert sorted(shuffled) == list(range(len(start))) and (shuffled != np.arange(len(start))).any()
    head = bench.pretrained.scale * bench.prompts.contexts.double().numpy().T
    assert float(loss.detach()) == pytest.approx(
        loss_by_hand(batch, 2 * divergence(start[shuffled] @ head, tuned @ head)), rel=1e-4
    )


def test_random_contexts_by_hand(bench: CellContext) -> None:
    batch = a_batch(bench, moved(bench))
    method = loss_of(first_guess("car_ft_random", kl_weight=2.0), bench)
    drawn = method.context_head()
    assert drawn.shape == bench.prompts.contexts.shape
    torch.testing.assert_close(drawn.norm(dim=1), torch.ones(len(drawn)))
    assert float((drawn @ bench.prompts.contexts.T).abs().max()) < 0.6
    tuned, start = numpy_features(batch)
    head = bench.pretrained.scale * drawn.double().numpy().T
    expected = loss_by_hand(batch, 2 * divergence(start @ head, tuned @ head))
    assert float(method.loss(batch)[0].detach()) == pytest.approx(expected, rel=1e-4)
    other = loss_of(first_guess("car_ft_random", seed=1), bench).context_head()
    assert not torch.equal(other, drawn)


@pytest.mark.parametrize("method", ["car_ft", "car_ft_permuted", "car_ft_random"])
def test_the_logged_displacement_is_that_of_each_image_from_its_own_start(bench: CellContext, method: str) -> None:
    batch = replace(a_batch(bench, moved(bench)), step=5)
    _, logged = loss_of(first_guess(method, kl_weight=2.0), bench).loss(batch)
    tuned, start = numpy_features(batch)
    expected = float(np.linalg.norm(tuned - start, axis=1).mean())
    assert float(logged["displacement"]) == pytest.approx(expected, rel=1e-5)
    assert expected > 0.01 and not logged["displacement"].requires_grad


def test_flyp_by_hand(bench: CellContext) -> None:
    """Captions are looked up among the pretrained text features, one prompt at a time."""
    batch = replace(a_batch(bench, moved(bench)), step=3)
    cell = first_guess("flyp", seed=1)
    loss, parts = loss_of(cell, bench).loss(batch)
    texts = bench.pretrained.text_features(bench.card.classes, bench.card.templates).double().numpy()
    captions = loss_of(cell, bench).captions(batch).detach().double().numpy()
    near = np.einsum("kcd,bd->bkc", texts, captions).reshape(len(captions), -1)
    templates, classes = np.divmod(near.argmax(1), texts.shape[1])
    assert near.max(1) == pytest.approx(np.ones(len(captions)), abs=1e-5)
    assert classes.tolist() == batch.labels.tolist()
    assert len(set(templates)) > 1
    similarity = bench.pretrained.scale * numpy_features(batch)[0] @ captions.T
    diagonal = np.arange(len(captions))
    expected = sum(-log_softmax(s, axis=1)[diagonal, diagonal].mean() for s in (similarity, similarity.T)) / 2
    assert float(loss.detach()) == pytest.approx(expected, rel=1e-4)
    assert parts == {}


def test_flyp_starts_at_the_zero_shot_head_and_rebuilds_it(bench: CellContext) -> None:
    method, network = loss_of(first_guess("flyp"), bench), bench.network()
    start = network.head.weight.detach().clone()
    method.before_evaluation(network)
    torch.testing.assert_close(network.head.weight, start, rtol=1e-4, atol=1e-4)
    method.loss(a_batch(bench, network))[0].backward()
    text = dict(method.text.named_parameters())
    assert text and all(p.grad is not None for p in text.values())
    assert network.head.weight.grad is None
    with torch.no_grad():
        text["logit_scale"] += np.log(2)
    method.before_evaluation(network)
    torch.testing.assert_close(network.head.weight, 2 * start, rtol=1e-4, atol=1e-4)


def test_flyp_validates_with_the_text_tower_of_that_epoch(bench: CellContext) -> None:
    """Each epoch's validation is that of a head no other epoch has, and the last one's is that of the record."""
    computed = compute(first_guess("flyp", epochs=3), bench)
    losses = [row["val/loss"] for row in computed.history if "val/loss" in row]
    assert len(set(losses)) == 3
    assert losses[-1] == computed.metrics["val/loss"]
    found = bench.predict(first_guess("flyp"), computed.network, bench.task.val)
    assert same_predictions(found, computed.predictions)


def test_a_curve_from_zero_shot_to_a_method_with_a_head_of_its_own(
    store: Store, execution: Execution, finished: Store, cells: dict[str, Cell]
) -> None:
    cell = first_guess("linear_probe")
    run_cell(cell, store, execution, unseal=True)
    points = list(run_curve(cell, store, execution, alphas=(0, 0.5, 1)))
    ends = [store.predictions(points[k], "val") for k in (0, -1)]
    assert same_predictions(ends[0], finished.predictions(cells["zeroshot"].id, "val"))
    assert same_predictions(ends[1], store.predictions(cell.id, "val"))
    assert store.evaluated(points[1]) == set(BUILT_IN.card(cell.task).sets)


def test_probe_cells_of_two_budgets_are_two_cells_with_one_solution(bench: CellContext) -> None:
    """Epochs, batch size and seed have no part in a linear probe."""
    cell = first_guess("linear_probe")
    other = replace(cell, seed=9, training=Training(epochs=3, batch_size=7))
    assert cell.id != other.id
    assert same_predictions(compute(cell, bench).predictions, compute(other, bench).predictions)


def made_up(count: int = 60, width: int = 5, classes: int = 3) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    features = F.normalize(torch.randn(count, width, generator=generator), dim=-1)
    return features, torch.randint(0, classes, (count,), generator=generator)


@pytest.mark.parametrize("l2", [0.01, 0.1, 1.0])
def test_two_points_have_the_solution_of_a_scalar_equation(l2: float) -> None:
    """x = -1 of class 0 and x = 1 of class 1. By symmetry A = (-a, a) and b = 0; the objective is
    log(1 + exp(-2a)) + l2 a^2, so l2 a = sigmoid(-2a)."""
    found = logistic_regression(torch.tensor([[-1.0], [1.0]]), torch.tensor([0, 1]), 2, l2)
    a = brentq(lambda x: l2 * x - expit(-2 * x), 0, 100)
    assert found.weight.flatten().tolist() == pytest.approx([-a, a], abs=1e-5)
    assert found.bias.tolist() == pytest.approx([0, 0], abs=1e-6)
    assert found.loss == pytest.approx(np.log1p(np.exp(-2 * a)), abs=1e-6)


def test_chunks_of_rows_give_the_solution_of_all_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    features, labels = made_up()
    whole = logistic_regression(features, labels, 3, 1e-2)
    monkeypatch.setattr(linear_probe, "CHUNK", 7)
    torch.testing.assert_close(logistic_regression(features, labels, 3, 1e-2).weight, whole.weight, rtol=0, atol=1e-5)


def test_the_probe_trains_the_head_on_frozen_features_and_nothing_else(bench: CellContext) -> None:
    computed = compute(quick_cell("linear_probe", l2=1e-3), bench)
    pretrained = bench.pretrained.clip.visual.state_dict()
    assert all(torch.equal(value, pretrained[name]) for name, value in computed.network.visual.state_dict().items())
    features = embed(bench.network(), bench.task.train, bench.pretrained)
    expected = logistic_regression(features, bench.task.train.labels, len(bench.card.classes), 1e-3)
    assert torch.equal(computed.network.head.weight.detach(), expected.weight)
    assert torch.equal(computed.network.head.bias.detach(), expected.bias)
    logits = features @ expected.weight.T + expected.bias
    assert float(F.cross_entropy(logits, bench.task.train.labels)) == pytest.approx(expected.loss, rel=1e-4)
    (row,) = computed.history
    assert row["train/loss"] == expected.loss and row["iterations"] > 5


def test_lp_ft_fine_tunes_from_the_probe(bench: CellContext) -> None:
    """With steps that go nowhere it is the probe; with real ones the encoder moves too."""
    probe = compute(quick_cell("linear_probe", l2=1e-3), bench)
    still = compute(quick_cell("lp_ft", lr=1e-12, l2=1e-3), bench)
    np.testing.assert_allclose(still.predictions.logits, probe.predictions.logits, atol=1e-4)
    tuned = compute(quick_cell("lp_ft", lr=LR, l2=1e-3), bench)
    moved = [not torch.equal(a, b) for a, b in zip(tuned.network.parameters(), probe.network.parameters(), strict=True)]
    assert all(moved)
    assert tuned.history[0]["train/loss"] == pytest.approx(probe.metrics["train/loss"], abs=0.3)


def test_the_solver_shows_signs_of_progress_to_a_watchdog() -> None:
    beats: list[int] = []
    with on_heartbeat(lambda: beats.append(1)):
        found = logistic_regression(torch.eye(4), torch.tensor([0, 1, 0, 1]), 2, 1e-2)
    assert len(beats) >= found.iterations > 0
