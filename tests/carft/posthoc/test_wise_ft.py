"""WiSE-FT: the ends of a curve are the two models, bit for bit."""

from __future__ import annotations

import shutil
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from carft.config.cell import Cell
from carft.config.registry import WISE_ALPHAS
from carft.config.resolve import interpolation
from carft.core.metrics import Predictions
from carft.methods.wise_ft import interpolate
from carft.posthoc.wise_ft import run_curve
from carft.store.archive import pack, unpack
from carft.store.records import Store
from carft.training.context import CellContext
from carft.training.execution import Execution
from carft.training.run import CellResult
from tests.support.helpers import same_predictions

SETS = ("val", "test", "ood/hands", "ood/renditions", "ood/sketches", "ood/adversarial", "ood/viewpoint")


def weights(seed: int) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {"head.weight": torch.randn(3, 2, generator=generator), "steps": torch.tensor(seed)}


@pytest.fixture(scope="module")
def curve(
    tmp_path_factory: pytest.TempPathFactory, finished: Store, execution: Execution, cells: dict[str, Cell]
) -> tuple[Store, dict[float, CellResult]]:
    """The curve of the car_ft cell, in a copy of the finished folder."""
    root: Path = tmp_path_factory.mktemp("curve") / "results"
    shutil.copytree(finished.root, root)
    store = Store(root)
    outcomes = run_curve(cells["car_ft"], store, execution)
    return store, {store.read(o.cell).cell.hyperparameters["alpha"]: o for o in outcomes}


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


def test_models_of_different_shape_are_not_mixed() -> None:
    with pytest.raises(ValueError, match=r"head\.bias"):
        interpolate(weights(1), {**weights(2), "head.bias": torch.zeros(3)}, 0.5)


def test_alpha_one_is_the_tuned_model_and_alpha_zero_the_zero_shot_model(
    curve: tuple[Store, dict[float, CellResult]], cells: dict[str, Cell]
) -> None:
    store, outcomes = curve
    for name in SETS:
        for alpha, method in ((0.0, "zeroshot"), (1.0, "car_ft")):
            found = store.predictions(outcomes[alpha].cell, name)
            assert same_predictions(found, store.predictions(cells[method].id, name)), name


def test_the_middle_of_the_curve_is_a_model_of_its_own(curve: tuple[Store, dict[float, CellResult]]) -> None:
    store, outcomes = curve
    start, middle, end = (store.predictions(outcomes[alpha].cell, "val").logits for alpha in (0.0, 0.5, 1.0))
    assert not np.array_equal(middle, start)
    assert not np.array_equal(middle, end)
    assert np.abs(middle - start).mean() < np.abs(end - start).mean()


def test_a_curve_beside_records_of_a_compact_archive_starts_at_the_same_model(
    tmp_path: Path, finished: Store, execution: Execution, cells: dict[str, Cell]
) -> None:
    """The archive holds no logits of the zero-shot cell; they are computed again for the curve of a new cell."""
    pack(finished, tmp_path / "compact.zip", compact=True)
    unpack(tmp_path / "compact.zip", tmp_path / "results")
    new = cells["car_ft"].id
    shutil.rmtree(tmp_path / "results" / "cells" / new)
    shutil.copytree(finished.folder(new), tmp_path / "results" / "cells" / new)
    store = Store(tmp_path / "results")
    start = next(iter(run_curve(cells["car_ft"], store, execution)))
    for name in SETS:
        assert same_predictions(store.predictions(start.cell, name), finished.predictions(cells["zeroshot"].id, name))


def test_a_curve_is_whole_and_evaluated_on_every_set(
    curve: tuple[Store, dict[float, CellResult]], cells: dict[str, Cell]
) -> None:
    store, outcomes = curve
    assert tuple(outcomes) == WISE_ALPHAS
    for alpha, outcome in outcomes.items():
        assert outcome.cell == interpolation(cells["car_ft"], alpha).id
        assert store.evaluated(outcome.cell) == set(SETS) - {"val"}
        assert "ood/mean/top1" in outcome.metrics


def test_a_finished_curve_is_reused(
    curve: tuple[Store, dict[float, CellResult]], cells: dict[str, Cell], execution: Execution
) -> None:
    store, outcomes = curve
    again = run_curve(cells["car_ft"], store, execution)
    assert {o.status for o in outcomes.values()} == {"done"}
    assert {o.status for o in again} == {"reused"}
    assert [dict(o.metrics) for o in again] == [dict(o.metrics) for o in outcomes.values()]


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
    assert len(made) == between * len(SETS) and max(kept) == 2 * between
