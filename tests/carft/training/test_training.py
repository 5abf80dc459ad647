"""The training loop: order, crops, learning rates, steps in place of epochs, and the same bits each time."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import replace
from itertools import count
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from carft.catalog.catalog import BUILT_IN
from carft.catalog.resolve import interpolation, specify
from carft.config.cell import Cell, Training
from carft.config.registry import METHODS
from carft.core.errors import UserError
from carft.data.domainbed.family import DATA_SETS
from carft.data.views import crop_box
from carft.store.records import Store
from carft.training import loop
from carft.training.context import CellContext
from carft.training.execution import Execution
from carft.training.run import compute, run_cell
from carft.training.schedule import drawn_rows, draws, epoch_order, learning_rates
from sweeps.recipes.loading import load_recipe
from sweeps.search.study import studies_of
from tests.support.cards import killed_and_resumed, require_same_bits
from tests.support.folder import Folder
from tests.support.helpers import LR, quick_cell, same_predictions

seeds = st.integers(0, 2**31)
epochs = st.integers(0, 500)
counts = st.integers(1, 300)


def rates(warmup: float, steps: int, peak: float = 1.0) -> list[float]:
    return list(learning_rates(Training(warmup=warmup), peak, steps))


def crops(seed: int, epoch: int, count: int, side: int, least: float) -> np.ndarray:
    """Boxes (count, 4) of square images."""
    return np.array([crop_box(draw, side, side, least) for draw in draws(seed, epoch, count)])


@given(seeds, epochs, counts)
def test_an_epoch_shows_every_image_once(seed: int, epoch: int, count: int) -> None:
    assert sorted(epoch_order(seed, epoch, count)) == list(range(count))


@given(seeds, epochs, counts, st.integers(0, 100))
def test_order_and_crops_do_not_depend_on_what_was_drawn_before_or_follows(
    seed: int, epoch: int, count: int, more: int
) -> None:
    expected = epoch_order(seed, epoch, count), crops(seed, epoch, count, 64, 0.9)
    np.random.seed(count)
    torch.manual_seed(count)
    epoch_order(seed + 1, epoch, count)
    assert np.array_equal(epoch_order(seed, epoch, count), expected[0])
    assert np.array_equal(crops(seed, epoch, count + more, 64, 0.9)[:count], expected[1])


@given(seeds, epochs)
def test_another_seed_or_epoch_gives_another_order_and_other_crops(seed: int, epoch: int) -> None:
    for other in ((seed + 1, epoch), (seed, epoch + 1)):
        assert not np.array_equal(epoch_order(seed, epoch, 50), epoch_order(*other, 50))
        assert not np.array_equal(crops(seed, epoch, 50, 64, 0.5), crops(*other, 50, 64, 0.5))


@given(seeds, st.integers(1, 400), st.integers(1, 400), st.floats(0.05, 1.0))
def test_crops_of_any_shape_of_image_lie_within_it(seed: int, height: int, width: int, least: float) -> None:
    top, left, tall, wide = crop_box(draws(seed, 0, 1)[0], height, width, least)
    assert 0 <= top <= top + tall <= height and tall >= 1
    assert 0 <= left <= left + wide <= width and wide >= 1


def test_crops_of_a_long_image_keep_to_the_allowed_ratios() -> None:
    for draw in draws(0, 0, 200):
        _, _, height, width = crop_box(draw, 100, 400, 0.9)
        assert width / height <= 4 / 3 + 0.02
        assert height >= 99


def test_crops_use_the_whole_image_and_keep_to_the_share_that_was_asked_for() -> None:
    """Clipping to a square image may take at most the factor sqrt(3/4) of the area again."""
    top, left, height, width = crops(0, 0, 4000, 100, 0.5).T
    share = height * width / 100**2
    assert share.min() >= 0.5 * np.sqrt(3 / 4) - 0.02
    assert share.max() > 0.95
    assert top.max() > 20
    assert left.max() > 20
    assert abs(float((top + height / 2).mean()) - 50) < 1


def test_learning_rates_have_the_values_worked_out_by_hand() -> None:
    """Ten steps, two of them warm-up: 1/2, 1, then a cosine over eight steps from 1."""
    half_cosine = [1.0, 0.9619398, 0.8535534, 0.6913417, 0.5, 0.3086583, 0.1464466, 0.0380602]
    assert rates(0.2, 10) == pytest.approx([0.5, 1.0, *half_cosine], abs=1e-6)
    assert rates(0.0, 2) == pytest.approx([1.0, 0.5])
    assert rates(0.1, 1) == [1.0]


def test_a_history_logs_every_step_with_its_learning_rate(bench: CellContext) -> None:
    cell = quick_cell("ft", epochs=2, lr=LR)
    history = compute(cell, bench).history
    steps = -(-len(bench.task.train) // cell.training.batch_size)
    assert [row["step"] for row in history] == list(range(2 * steps))
    assert [row["epoch"] for row in history] == [0.0] * steps + [1.0] * steps
    assert [row["lr"] for row in history] == list(learning_rates(cell.training, LR, 2 * steps))
    assert ["val/top1" in row for row in history] == ([False] * (steps - 1) + [True]) * 2
    assert min(row["grad_norm"] for row in history) > 0


def test_order_and_crops_are_those_of_each_epoch(bench: CellContext, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    for name in ("epoch_order", "train_view"):
        draw = getattr(loop, name)
        monkeypatch.setattr(loop, name, lambda *given, draw=draw: (asked.append(given[-4:-1]), draw(*given))[1])
    compute(quick_cell("ft", seed=3, epochs=2, lr=LR), bench)
    count = len(bench.task.train)
    assert asked == [(3, 0), (3, 0, count), (3, 1), (3, 1, count)]


def test_a_training_says_how_far_it_is_and_has_the_same_bits(
    bench: CellContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    cell, said = quick_cell("ft", lr=LR), list[str]()
    plain = compute(cell, bench).history
    monkeypatch.setattr(loop, "LOG_EVERY_S", 0.0)
    squares = (float(number**2) for number in count(1))
    monkeypatch.setattr(loop, "time", SimpleNamespace(monotonic=squares.__next__, perf_counter=time.perf_counter))
    assert compute(cell, bench, log=said.append).history == plain
    lines = [line for line in said if line.startswith("step ")]
    assert len(lines) == len(plain) == 4
    # by hand: each look at the clock shows the next square number; 32 images a step
    assert lines[0] == f"step 1/4  loss {plain[0]['train/loss']:.3f}  4 images/s  24 s left, without evaluations"
    assert lines[1].endswith("  2 images/s  40 s left, without evaluations")


SETS = ("val", "test", "ood/hands", "ood/renditions", "ood/sketches", "ood/adversarial", "ood/viewpoint")


def snapshot(root: Path) -> dict[str, tuple[int, bytes]]:
    """Path -> modification time and content of every file under a folder."""
    return {str(p.relative_to(root)): (p.stat().st_mtime_ns, p.read_bytes()) for p in root.rglob("*") if p.is_file()}


def test_a_cell_gives_the_same_bits_in_another_folder_after_other_cells(
    finished: Store, store: Store, execution: Execution, cells: dict[str, Cell]
) -> None:
    run_cell(quick_cell("ft", seed=6, lr=1e-4), store, execution)
    torch.manual_seed(3)
    cell = cells["car_ft"]
    assert run_cell(cell, store, execution, unseal=True).status == "done"
    assert store.metrics(cell.id) == finished.metrics(cell.id)
    for name in SETS:
        assert same_predictions(store.predictions(cell.id, name), finished.predictions(cell.id, name)), name


def test_unsealing_later_gives_what_unsealing_at_once_gives(
    finished: Store, store: Store, execution: Execution, cells: dict[str, Cell]
) -> None:
    """Also when the search kept no weights, so that they have to be made again."""
    cell = cells["car_ft"]
    run_cell(cell, store, execution)
    assert store.evaluated(cell.id) == set()
    assert not store.weights_path(cell.id).exists()
    record = (store.folder(cell.id) / "record.json").read_bytes()
    run_cell(cell, store, execution, unseal=True)
    assert store.metrics(cell.id) == finished.metrics(cell.id)
    assert (store.folder(cell.id) / "record.json").read_bytes() == record


def test_a_finished_cell_is_reused_and_no_file_is_touched(
    store: Store, execution: Execution, cells: dict[str, Cell]
) -> None:
    first = run_cell(cells["ft"], store, execution, unseal=True)
    before = snapshot(store.root)
    second = run_cell(cells["ft"], store, execution, unseal=True)
    assert (first.status, second.status) == ("done", "reused")
    assert dict(first.metrics) == dict(second.metrics)
    assert snapshot(store.root) == before


def test_cells_that_cannot_be_run_are_refused(store: Store, execution: Execution, cells: dict[str, Cell]) -> None:
    spec = cells["ft"].as_dict()
    for wrong, message in (
        ({"precision": "float8"}, "float8"),
        ({"data_version": "icons-0"}, "icons-0"),
        ({"method": "wise_ft", "hyperparameters": {"alpha": 0.5}}, "combine wise_ft"),
        ({"hyperparameters": {}}, "learning rate"),
    ):
        with pytest.raises(UserError, match=message):
            run_cell(Cell.from_dict({**spec, **wrong}), store, execution)
    assert store.ids() == []


def test_a_record_says_where_it_comes_from(finished: Store, cells: dict[str, Cell]) -> None:
    provenance = finished.read(cells["car_ft"].id).provenance
    assert provenance["packages"]["torch"] == torch.__version__
    assert provenance["cpu"]["instructions"] == torch.backends.cpu.get_cpu_capability() and provenance["cpu"]["model"]
    execution = provenance["execution"]
    assert (execution["device"], execution["workers"], execution["cells_per_gpu"]) == ("cpu", 1, 1)
    assert execution.keys().isdisjoint({"data", "feature_cache"})
    digests = provenance["digests"]
    assert {"drawings", "pixels", "weights"} <= set(digests)
    assert all(len(digests[name]) == 64 for name in ("drawings", "pixels", "weights"))


SKETCH = "pacs/sketch"
HYPERPARAMETERS = {"lr": 1e-3, "kl_weight": 1.0}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    DATA_SETS["pacs"].fixture(folder)
    return folder


@pytest.fixture
def few_prompts(monkeypatch: pytest.MonkeyPatch) -> None:
    card = BUILT_IN.card(SKETCH)
    few = {"standard": card.bank("standard")[:2]}
    monkeypatch.setitem(BUILT_IN.family(SKETCH).cards, SKETCH, replace(card, banks=few))


def cell_of(recipe: str, method: str = "car_ft", seed: int = 0) -> Cell:
    """A cell of a recipe at smoke size, with the built-in model."""
    chosen = load_recipe(recipe).smoked().changed([SKETCH], model="icons-resnet", pretrained="icons-3")
    if method == "zeroshot":
        return specify(SKETCH, method, {}, model="icons-resnet", pretrained="icons-3", **chosen.protocol())
    (study,) = studies_of(chosen, [METHODS[method]])
    return study.cell(HYPERPARAMETERS if method == "car_ft" else {"lr": 1e-3}, seed)


def test_a_cell_or_study_without_the_optional_fields_keeps_its_id() -> None:
    """The ids are those of the version before the fields existed."""
    cell = specify(SKETCH, "car_ft", {"lr": 1e-4, "kl_weight": 1.0}, 3, Training(epochs=2, batch_size=96))
    assert cell.id == "6de4a7de37c9c10d" and specify(SKETCH, "zeroshot", {}).id == "49c6c33bf6013b90"
    assert not {"eval_view", "holdout", "target_split"} & set(cell.as_dict())
    assert set(cell.as_dict()["training"]) == {"epochs", "batch_size", "weight_decay", "warmup", "clip", "crop"}
    (study, *_) = studies_of(load_recipe("miniature-domains").changed(), [METHODS["ft"]])
    assert study.id == "30793b678fb298b8"


def test_an_interpolation_is_evaluated_in_the_view_of_its_parent() -> None:
    parent = cell_of("domainbed")
    curve = interpolation(parent, 0.5)
    assert (curve.eval_view, curve.holdout, curve.target_split) == ("stretch", "domainbed", "in")


def test_steps_are_divided_into_parts_and_fewer_steps_than_parts_are_refused() -> None:
    assert Training(epochs=3, steps=10).bounds(1000) == [0, 3, 6, 10]
    assert Training(epochs=2, batch_size=10).bounds(95) == [0, 10, 20]
    balanced = Training(epochs=2, batch_size=10, domain_balanced=True)
    assert balanced.bounds(95, domains=3) == [0, 4, 8] and balanced.images_seen(95, 3) == 8 * 30
    assert Training(epochs=2, steps=7, batch_size=4).images_seen(95) == 28
    with pytest.raises(UserError, match="at least as many steps"):
        Training(epochs=5, steps=4)


def test_every_balanced_batch_holds_the_same_number_of_images_of_each_domain() -> None:
    domains = np.repeat([0, 1, 3], [5, 50, 500])
    training = Training(epochs=2, steps=200, batch_size=8, domain_balanced=True)
    rows = drawn_rows(training, 0, 1, training.bounds(len(domains)), domains).reshape(100, 24)
    for batch in rows:
        assert Counter(domains[batch].tolist()) == {0: 8, 1: 8, 3: 8}
    small = Counter(rows[domains[rows] == 0].tolist())  # with replacement, each image as often as any other
    assert min(small.values()) > 120 and max(small.values()) < 200
    assert not np.array_equal(rows, drawn_rows(training, 1, 1, training.bounds(555), domains).reshape(100, 24))


def test_pooled_steps_pass_over_the_set_again_and_again() -> None:
    training, domains = Training(epochs=3, steps=10, batch_size=7), np.zeros(20, int)
    bounds = training.bounds(20)
    rows = np.concatenate([drawn_rows(training, 4, epoch, bounds, domains) for epoch in range(3)])
    assert len(rows) == 70
    for first in (0, 20, 40):
        assert sorted(rows[first : first + 20]) == list(range(20))


def test_a_constant_rate_stays_after_the_warm_up() -> None:
    rates = list(learning_rates(Training(schedule="constant", warmup=0.2), 1.0, 10))
    assert rates == [0.5, *[1.0] * 9]
    assert list(learning_rates(Training(schedule="constant", warmup=0.0), 1.0, 3)) == [1.0] * 3


@pytest.mark.usefixtures("few_prompts")
@pytest.mark.parametrize("recipe", ["domainbed", "clipood"])
def test_a_recipe_trains_and_evaluates_as_its_source_does(recipe: str, root: Path, store: Store) -> None:
    cell, execution = cell_of(recipe), Execution(data=str(root))
    run_cell(cell, store, execution, unseal=True)
    history = store.history(cell.id)
    assert len(history["train/loss"]) == cell.training.steps == 4
    side = {"domainbed": "in", "clipood": "out"}[recipe]
    validation = BUILT_IN.open(SKETCH, Folder(root), "domainbed").val
    expected = BUILT_IN.unseal(SKETCH, Folder(root), side).suites["sketch"]
    assert set(store.predictions(cell.id, "ood/sketch").images) == set(expected.names)
    assert set(store.predictions(cell.id, "val").images) == set(validation.names)
    zero_shot = cell_of(recipe, "zeroshot")
    run_cell(zero_shot, store, execution, unseal=True)
    assert list(store.predictions(zero_shot.id, "ood/sketch").images) == list(expected.names)


def test_a_training_in_steps_resumes_with_the_same_bits(bench: CellContext, tmp_path: Path) -> None:
    cell = quick_cell("ft", epochs=2, lr=LR)
    cell = replace(cell, training=replace(cell.training, steps=5))
    resumed, _ = killed_and_resumed(cell, bench, tmp_path, after=3)
    require_same_bits(compute(cell, bench), resumed)


class WithoutReading(Store):
    """A results folder whose weights nobody reads."""

    def find_weights(self, cell: str) -> Path:
        raise AssertionError(f"the weights of {cell} are read")


def test_a_cell_is_unsealed_with_the_network_in_memory_as_with_its_stored_weights(tmp_path: Path) -> None:
    """FLYP removes its text tower after training."""
    cell, at_once, later = quick_cell("flyp", lr=LR), WithoutReading(tmp_path / "once"), Store(tmp_path / "later")
    run_cell(cell, at_once, Execution(), unseal=True)
    run_cell(cell, later, Execution(), keep_weights=True)
    run_cell(cell, later, Execution(), unseal=True)
    for name in ("val", *sorted(later.evaluated(cell.id))):
        assert same_predictions(at_once.predictions(cell.id, name), later.predictions(cell.id, name)), name
    assert at_once.metrics(cell.id) == later.metrics(cell.id)
