"""WiSE-FT: the ends of a curve are the two models, bit for bit."""

from __future__ import annotations

import json
import re
import shutil
import weakref
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from safetensors.torch import load_file
from scipy.special import log_softmax

from carft.catalog.catalog import BUILT_IN
from carft.catalog.resolve import interpolation
from carft.config.cell import Cell, Reading
from carft.config.registry import WISE_ALPHAS
from carft.config.settings import DIRECTIONS
from carft.core.metrics import Predictions
from carft.methods.ft import Batch
from carft.models.network import Network, interpolate
from carft.posthoc.export import export
from carft.posthoc.wise_ft import run_curve
from carft.store.records import Store
from carft.training.context import CellContext
from carft.training.execution import Execution
from carft.training.feature_cache import FeatureCache
from carft.training.run import compute, load_network, run_cell
from tests.support.helpers import LR, quick_cell, same_predictions

SETS = ("val", "test", "ood/hands", "ood/renditions", "ood/sketches", "ood/adversarial", "ood/viewpoint")


def weights(seed: int) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {"head.weight": torch.randn(3, 2, generator=generator), "steps": torch.tensor(seed)}


@pytest.fixture(scope="module")
def curve(
    tmp_path_factory: pytest.TempPathFactory, finished: Store, execution: Execution, cells: dict[str, Cell]
) -> tuple[Store, dict[float, str]]:
    """The curve of the car_ft cell, in a copy of the finished folder."""
    root: Path = tmp_path_factory.mktemp("curve") / "results"
    shutil.copytree(finished.root, root)
    store = Store(root)
    statuses = run_curve(cells["car_ft"], store, execution)
    assert {*statuses.values()} == {"done"}
    return store, {store.read(point).cell.hyperparameters["alpha"]: point for point in statuses}


def test_the_ends_are_the_two_models_bit_for_bit() -> None:
    start, end = weights(1), weights(2)
    for alpha, expected in ((0, start), (0.0, start), (1, end), (1.0, end)):
        found = interpolate(start, end, alpha)
        assert found.keys() == expected.keys()
        assert all(torch.equal(found[name], expected[name]) for name in expected)


@given(st.floats(0.01, 0.99))
def test_between_the_ends_every_weight_is_the_weighted_mean(alpha: float) -> None:
    start, end = weights(1), weights(2)
    expected = (1 - alpha) * start["head.weight"] + alpha * end["head.weight"]
    torch.testing.assert_close(interpolate(start, end, alpha)["head.weight"], expected)
    assert all(torch.equal(start[name], value) for name, value in weights(1).items())
    assert all(torch.equal(end[name], value) for name, value in weights(2).items())


def test_alpha_one_is_the_tuned_model_and_alpha_zero_the_zero_shot_model(
    curve: tuple[Store, dict[float, str]], cells: dict[str, Cell]
) -> None:
    store, outcomes = curve
    for name in SETS:
        for alpha, method in ((0.0, "zeroshot"), (1.0, "car_ft")):
            found = store.predictions(outcomes[alpha], name)
            assert same_predictions(found, store.predictions(cells[method].id, name)), name


def test_a_curve_is_whole_and_evaluated_on_every_set(
    curve: tuple[Store, dict[float, str]], cells: dict[str, Cell]
) -> None:
    store, points = curve
    assert tuple(points) == WISE_ALPHAS
    for alpha, point in points.items():
        assert point == interpolation(cells["car_ft"], alpha).id
        assert store.evaluated(point) == set(SETS) - {"val"}
        assert "ood/mean/top1" in store.metrics(point)


def test_a_finished_curve_is_reused(
    curve: tuple[Store, dict[float, str]], cells: dict[str, Cell], execution: Execution
) -> None:
    store, points = curve
    assert run_curve(cells["car_ft"], store, execution) == dict.fromkeys(points.values(), "reused")


def test_a_curve_keeps_the_predictions_on_two_sets_at_most(
    tmp_path: Path, finished: Store, execution: Execution, cells: dict[str, Cell], monkeypatch: pytest.MonkeyPatch
) -> None:
    """On ImageNet those of three alphas on all sets are 2 GiB."""
    made: list[weakref.ref[Predictions]] = []
    kept: list[int] = []
    predict_each = CellContext.predict_each

    def counted(*given: Any) -> list[Predictions]:
        found = predict_each(*given)
        made.extend(map(weakref.ref, found))
        kept.append(sum(one() is not None for one in made))
        return found

    monkeypatch.setattr(CellContext, "predict_each", counted)
    run_curve(cells["car_ft"], Store(shutil.copytree(finished.root, tmp_path / "results")), execution)
    between = len(WISE_ALPHAS) - 2
    assert len(made) == between * len(SETS) and max(kept) <= 2 * between


def test_open_clip_loads_an_export_and_gives_the_cell_s_features(
    finished: Store, bench: CellContext, execution: Execution, cells: dict[str, Cell], tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    """So does the code on the model card, for one image."""
    cell, folder = cells["car_ft"], tmp_path / "shared"
    export(cell.id, finished, folder, execution)
    loaded, _, _ = open_clip.create_model_and_transforms(f"local-dir:{folder}")
    images = bench.pretrained.normalise(bench.task.val.images[:16])
    with torch.inference_mode():
        features = F.normalize(loaded.eval().encode_image(images), dim=-1)
        logits, expected = load_network(cell, bench, finished)(images)
    torch.testing.assert_close(features, expected, atol=1e-6, rtol=1e-5)
    head = load_file(folder / "class_head.safetensors")
    torch.testing.assert_close(features @ head["weight"].T + head["bias"], logits, atol=1e-4, rtol=1e-5)
    assert json.loads((folder / "classes.json").read_text())["classes"] == list(bench.card.classes)
    card = (folder / "README.md").read_text()
    assert cell.id in card and "miniature" in card and "python cli.py train" in card
    image = tmp_path / "image.png"
    Image.fromarray(bench.task.val.images[0].permute(1, 2, 0).numpy()).save(image)
    (code,) = re.findall(r"```python\n(.*?)```", card, re.DOTALL)
    exec(code.replace("PATH_OF_THIS_FOLDER", str(folder)).replace("IMAGE", str(image)), {})
    assert capsys.readouterr().out.strip() == bench.card.classes[logits[0].argmax()]


def test_an_export_holds_the_scale_that_stands_outside_the_head(
    bench: CellContext, execution: Execution, tmp_path: Path
) -> None:
    store = Store(tmp_path / "results", catalog=BUILT_IN)
    cell = quick_cell("ft", lr=LR, reading=Reading(class_head="scale-outside"))
    run_cell(cell, store, execution, keep_weights=True)
    export(cell.id, store, tmp_path / "shared", execution)
    head = load_file(tmp_path / "shared" / "class_head.safetensors")
    images = bench.pretrained.normalise(bench.task.val.images[:16])
    with torch.inference_mode():
        logits, features = load_network(cell, bench, store)(images)
    assert head["bias"].abs().max() > 0
    torch.testing.assert_close(features @ head["weight"].T + head["bias"], logits, atol=1e-4, rtol=1e-5)


def a_batch(bench: CellContext, network: Network, count: int = 12) -> Batch:
    """A batch of validation images as the training loop would hand it to a loss."""
    images = bench.pretrained.normalise(bench.task.val.images[:count])
    frozen = FeatureCache(quick_cell("ft", lr=LR), bench)
    return Batch(network, images, bench.task.val.labels[:count], *network(images), lambda: frozen.features(images, 0))


def by_hand(batch: Batch, bench: CellContext, kl_weight: float, reading: Reading) -> float:
    """CE + kl_weight * mean KL in numpy, from features and heads alone."""
    classes = log_softmax(batch.logits.detach().double().numpy(), axis=1)
    cross_entropy = -classes[np.arange(len(batch.labels)), batch.labels.numpy()].mean()
    head = bench.prompts.contexts.double().numpy()
    with torch.no_grad():
        raw = bench.pretrained.clip.visual(batch.images).double().numpy()
    frozen = raw / np.linalg.norm(raw, axis=1, keepdims=True)
    scale = (bench.pretrained.scale if reading.context_scale == "pretrained" else 1.0) / reading.context_temperature
    p = log_softmax(scale * frozen @ head.T, axis=1)
    q = log_softmax(scale * batch.features.detach().double().numpy() @ head.T, axis=1)
    forward, backward = (np.exp(p) * (p - q)).sum(1).mean(), (np.exp(q) * (q - p)).sum(1).mean()
    chosen = {"pretrained-to-tuned": forward, "tuned-to-pretrained": backward, "symmetric": (forward + backward) / 2}[
        reading.kl_direction
    ]
    return float(cross_entropy + kl_weight * chosen)


def test_car_ft_with_kl_weight_zero_is_ft_bit_for_bit(
    store: Store, execution: Execution, finished: Store, cells: dict[str, Cell]
) -> None:
    ft, car_ft = cells["ft"], quick_cell("car_ft", lr=LR, kl_weight=0.0)
    found = run_cell(car_ft, store, execution, unseal=True)
    assert ft.id != car_ft.id
    assert dict(found.metrics) == finished.metrics(ft.id)
    sets = {"val", *finished.evaluated(ft.id)}
    assert len(sets) == 7
    for name in sets:
        assert same_predictions(store.predictions(car_ft.id, name), finished.predictions(ft.id, name)), name


@pytest.mark.parametrize(
    "reading", [*map(Reading, DIRECTIONS), Reading(context_temperature=4.0), Reading(context_scale="one")], ids=str
)
def test_the_loss_is_cross_entropy_plus_weighted_divergence(bench: CellContext, reading: Reading) -> None:
    kl_weight = 0.5
    network = bench.network()
    with torch.no_grad():
        for p in network.visual.parameters():
            p.mul_(1.02)
    batch = a_batch(bench, network)
    cell = quick_cell("car_ft", reading=reading, lr=LR, kl_weight=kl_weight)
    loss, parts = BUILT_IN.method("car_ft").load()(cell, bench.pretrained, bench.prompts).loss(batch)
    loss = loss.detach()
    assert float(loss) == pytest.approx(by_hand(batch, bench, kl_weight, reading), rel=1e-4)
    without = by_hand(batch, bench, 0.0, reading)
    assert float(parts["kl"]) == pytest.approx((float(loss) - without) / kl_weight, abs=1e-3)
    assert float(parts["kl"]) > 0


def test_the_loss_sends_no_gradient_into_the_pretrained_model(bench: CellContext) -> None:
    network = bench.network()
    cell = quick_cell("car_ft", lr=LR, kl_weight=1.0)
    loss, _ = BUILT_IN.method("car_ft").load()(cell, bench.pretrained, bench.prompts).loss(a_batch(bench, network))
    loss.backward()
    assert all(p.grad is None for p in bench.pretrained.clip.parameters())
    assert not bench.prompts.contexts.requires_grad
    assert all(p.grad is not None for p in network.parameters())


def test_permuting_the_context_rows_of_both_models_leaves_the_loss_unchanged(bench: CellContext) -> None:
    network = compute(quick_cell("ft", lr=LR), bench).network
    rows = torch.arange(len(bench.prompts.contexts)).flip(0)
    shuffled = replace(bench.prompts, contexts=bench.prompts.contexts[rows])
    cell, batch = quick_cell("car_ft", lr=LR, kl_weight=5.0), a_batch(bench, network)
    plain, permuted = (
        BUILT_IN.method("car_ft").load()(cell, bench.pretrained, p).loss(batch) for p in (bench.prompts, shuffled)
    )
    assert float(permuted[0].detach()) == pytest.approx(float(plain[0].detach()), rel=1e-5)
    assert float(plain[1]["kl"]) > 0  # the term is there, so its order could have mattered


def test_with_one_template_car_ft_learns_what_ft_learns(bench: CellContext) -> None:
    """The gradient of a KL between constant distributions is zero, so only rounding could differ."""
    one = replace(bench, prompts=replace(bench.prompts, contexts=bench.prompts.contexts[:1]))
    ft, car_ft = (
        compute(cell, one).predictions
        for cell in (quick_cell("ft", lr=LR), quick_cell("car_ft", lr=LR, kl_weight=10.0))
    )
    np.testing.assert_allclose(car_ft.logits, ft.logits, rtol=1e-4, atol=1e-3)
