"""How a cell is computed does not change what it is: parts, checkpoints, precision, files and compiling."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import pytest
import torch
from PIL import Image
from torch import nn
from torch._inductor.runtime.cache_dir_utils import cache_dir, triton_cache_dir

from carft.catalog.catalog import BUILT_IN
from carft.config.cell import Cell
from carft.core.errors import Diverged, UserError
from carft.data.image_files import Files, decode
from carft.data.task import ImageSet
from carft.data.views import MOST_PROCESSES, PROCESSES, CentreView
from carft.models.availability import OF_OPTIMIZER
from carft.store.records import Store
from carft.training import loop
from carft.training.checkpoint import Checkpoints
from carft.training.compiling import MOST_GRAPHS, forget_graphs
from carft.training.context import CellContext
from carft.training.device import CUBLAS_WORKSPACE, probe_gpu
from carft.training.distributed import WorkerRank
from carft.training.execution import Execution
from carft.training.loop import Trainer
from carft.training.run import compute, run_cell, store_checkpoints
from carft.training.schedule import parts_of_epoch
from tests.support.cards import TINY_VIT
from tests.support.helpers import LR, ROOT, quick_cell
from tests.support.processes import noise_on, run_processes

CELL = quick_cell("car_ft", epochs=2, lr=LR, kl_weight=1.0)


@pytest.fixture(scope="module")
def plain(bench: CellContext):
    """The cell computed in the usual way."""
    return compute(CELL, bench)


def test_a_batch_in_parts_is_the_same_batch(bench: CellContext) -> None:
    cell = quick_cell("car_ft", lr=LR, kl_weight=1.0)
    whole = compute(cell, bench)
    found = compute(cell, replace(bench, execution=Execution(accumulation=3)))
    for column in ("train/loss", "train/kl", "grad_norm"):
        values = [[row[column] for row in computed.history] for computed in (whole, found)]
        np.testing.assert_allclose(*values, rtol=1e-3, atol=1e-4, err_msg=column)
    np.testing.assert_allclose(found.predictions.logits, whole.predictions.logits, rtol=0, atol=1e-2)


def test_a_torn_checkpoint_is_a_fresh_start(plain, bench: CellContext, tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path / "checkpoint.safetensors", every=2)
    checkpoints.path.write_bytes(b"half a file")
    assert compute(CELL, bench, checkpoints).metrics == plain.metrics


def test_no_checkpoint_is_written_where_a_results_folder_was(bench: CellContext, tmp_path: Path) -> None:
    """A share that went away leaves an empty place; the mark of the sweep is not in it."""
    store = Store(tmp_path / "gone", sentinel="sweep.lock")
    store.root.mkdir()
    with pytest.raises(FileNotFoundError, match="no longer there"):
        compute(CELL, bench, store_checkpoints(CELL, store, Execution(checkpoint_every=1)))
    assert list(store.root.iterdir()) == []
    (store.root / "sweep.lock").touch()
    store_checkpoints(CELL, store, Execution(checkpoint_every=1)).make(store.root / "checkpoints")
    assert (store.root / "checkpoints").is_dir()


def test_bfloat16_starts_at_no_divergence_and_learns(bench: CellContext) -> None:
    """Both models run at the same precision, so the first KL is 0 to the bit there too."""
    cell = replace(CELL, precision="bfloat16")
    computed = compute(cell, bench)
    assert computed.history[0]["train/kl"] == pytest.approx(0, abs=1e-6)
    assert max(row["train/kl"] for row in computed.history) > 1e-4
    first, second = ([row["train/loss"] for row in computed.history if row["epoch"] == epoch] for epoch in (0, 1))
    assert np.mean(second) < np.mean(first)
    assert cell.id != CELL.id
    assert computed.predictions.logits.dtype == np.float32
    assert all(p.dtype == torch.float32 for p in computed.network.parameters())


def test_metrics_stay_on_the_device_until_they_are_read_together(
    bench: CellContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A read in every step would make the host wait for the GPU, which then waits for the host."""
    reads: list[str] = []
    for name in ("item", "tolist", "__float__", "__bool__", "__int__"):
        read = getattr(torch.Tensor, name)
        monkeypatch.setattr(torch.Tensor, name, lambda self, name=name, read=read: (reads.append(name), read(self))[1])
    monkeypatch.setattr(loop, "READ_EVERY", 3)
    network, method = bench.network(), BUILT_IN.method("car_ft").load()(CELL, bench.pretrained, bench.prompts)
    trainer = Trainer(CELL, bench, network, method)
    trainer.train_epoch(0)
    steps = trainer.progress.step
    kept = trainer.optimizer.state[trainer.parameters[0]].values()
    assert sum(value.shape == trainer.parameters[0].shape for value in kept) == OF_OPTIMIZER
    assert reads == ["tolist"] * -(-steps // 3) and steps > 3
    assert all(list(row)[:3] == ["epoch", "step", "lr"] and "grad_norm" in row for row in trainer.progress.history)


def test_gradients_are_clipped_at_the_norm_of_the_recipe_and_weights_decay(bench: CellContext) -> None:
    cell, network = quick_cell("ft", lr=LR), bench.network()
    cell = replace(cell, training=replace(cell.training, clip=0.01))
    trainer = Trainer(cell, bench, network, BUILT_IN.method("ft").load()(cell, bench.pretrained, bench.prompts))
    trainer.train_epoch(0)
    gradients = [parameter.grad.flatten() for parameter in trainer.parameters if parameter.grad is not None]
    assert float(torch.cat(gradients).norm()) == pytest.approx(0.01, rel=1e-3)
    assert min(row["grad_norm"] for row in trainer.progress.history) > 0.02
    (group,) = trainer.optimizer.param_groups
    assert group["weight_decay"] == cell.training.weight_decay > 0


def test_more_processes_decode_where_images_come_late(bench: CellContext, monkeypatch: pytest.MonkeyPatch) -> None:
    cell = quick_cell("ft", lr=LR)
    for share, processes in ((2.0, PROCESSES), (-1.0, MOST_PROCESSES)):  # no wait is so long, and every one is longer
        monkeypatch.setattr(loop, "MOST_WAIT", share)
        method = BUILT_IN.method("ft").load()(cell, bench.pretrained, bench.prompts)
        trainer = Trainer(cell, bench, bench.network(), method)
        trainer.train_epoch(0)
        assert trainer.processes == processes


def test_a_loss_that_is_not_finite_is_found_before_a_checkpoint_is_written(
    bench: CellContext, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cell, network = quick_cell("ft", lr=LR), bench.network()
    method = BUILT_IN.method("ft").load()(cell, bench.pretrained, bench.prompts)
    monkeypatch.setattr(method, "loss", lambda batch: (batch.logits.sum() * torch.nan, {}))
    checkpoints = Checkpoints(tmp_path / "checkpoint.safetensors", every=2)
    trainer = Trainer(cell, bench, network, method, checkpoints)
    with pytest.raises(Diverged, match="became nan"):
        trainer.train_epoch(0)
    assert trainer.progress.step == 2 and not checkpoints.path.exists()


def test_float16_scales_the_loss_and_resumes_with_the_scale(
    bench: CellContext, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The scale is large at first, so that small gradients do not vanish; logged values are those without it.

    In two steps: a CPU is slow in half precision.
    """
    bench = replace(
        bench, task=replace(bench.task, train=bench.task.train.rows(range(16)), val=bench.task.val.rows(range(4)))
    )
    plain = quick_cell("car_ft", lr=LR / 10, kl_weight=0.1)
    cell = replace(plain, precision="float16", training=replace(plain.training, batch_size=8))
    checkpoints = Checkpoints(tmp_path / "checkpoint.safetensors", every=1)
    whole = compute(cell, bench, checkpoints)
    assert whole.history[0]["train/kl"] == pytest.approx(0, abs=1e-6)
    in_float32 = compute(replace(cell, precision="float32"), bench).history
    for column in ("train/loss", "grad_norm"):
        found, expected = ([row[column] for row in history] for history in (whole.history, in_float32))
        assert found == pytest.approx(expected, rel=0.05), column
    assert all(p.dtype == torch.float32 for p in whole.network.parameters())
    network = bench.network()
    method = BUILT_IN.method("car_ft").load()(cell, bench.pretrained, bench.prompts)
    monkeypatch.setattr(loop, "SCALE", 0.5)  # with which a new training would begin
    trainer = Trainer(cell, bench, network, method, checkpoints)
    assert trainer.progress.scaler["scale"] == trainer.scaler.get_scale() >= 1.0
    assert compute(cell, bench, checkpoints).history == whole.history


def test_float16_skips_a_step_whose_gradients_overflow(bench: CellContext, monkeypatch: pytest.MonkeyPatch) -> None:
    cell = replace(quick_cell("ft", lr=LR), precision="float16")
    network, method = bench.network(), BUILT_IN.method("ft").load()(cell, bench.pretrained, bench.prompts)
    trainer, start = Trainer(cell, bench, network, method), bench.network().state_dict()
    trainer.scaler = torch.amp.GradScaler("cpu", init_scale=2.0**22)
    (parts,) = parts_of_epoch(np.arange(2), 2, WorkerRank(), 1)
    pixels = bench.task.train.images[:2]
    for step in range(200):
        trainer.update(step, parts, iter([pixels]), LR)
        if not torch.equal(network.head.weight, start["head.weight"]):
            break
        assert all(torch.equal(value, start[name]) for name, value in network.state_dict().items())
    assert 0 < step < 199 and trainer.scaler.get_scale() < 2.0**22


def test_a_cpu_refuses_tensorfloat_32_before_it_starts(store: Store) -> None:
    cell = replace(quick_cell("ft", lr=LR), precision="tf32")
    with pytest.raises(UserError, match="TensorFloat-32"):
        run_cell(cell, store, Execution())
    assert not store.ids()


@pytest.mark.parametrize(("precision", "allowed"), [("tf32", True), ("float32", False)])
def test_only_tf32_cells_use_tensorfloat_32(precision: str, allowed: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", not allowed)
    before = torch.get_float32_matmul_precision()
    CellContext.of(replace(quick_cell("ft", lr=LR), precision=precision), Execution(), catalog=BUILT_IN)
    found = torch.backends.cudnn.allow_tf32, torch.get_float32_matmul_precision() == "high"
    torch.set_float32_matmul_precision(before)
    assert found == (allowed, allowed)


def uneven(cell: Cell, images: int) -> Cell:
    """The cell with a batch size that leaves one image for the last batch of an epoch."""
    size = next(n for n in range(images - 1, 8, -1) if images % n == 1)
    return replace(cell, training=replace(cell.training, batch_size=size))


@pytest.mark.full
@pytest.mark.slow
def test_a_compiled_training_agrees_and_has_the_graphs_that_it_has_in_a_new_process(
    bench: CellContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Traced forward and backward; without the C++ that torch would write next, which takes minutes."""
    graphs: list[list[torch.Size]] = []

    def trace(graph: torch.fx.GraphModule, inputs: Sequence[torch.Tensor]) -> Callable[..., Any]:
        graphs[-1].append(next(one.shape for one in inputs if one.ndim == 4))
        return graph.forward

    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend=trace))
    cell = uneven(quick_cell("car_ft", epochs=2, lr=LR, kl_weight=1.0), len(bench.task.train))
    compiled = replace(bench, execution=Execution(compile=True))
    for _ in range(2):
        graphs.append([])
        found = compute(cell, compiled)
    assert graphs[0] == graphs[1] and len(graphs[0]) == 4  # the frozen encoder and the trained network, each two shapes
    assert all(type(size) is int for shape in graphs[0] for size in shape)
    assert found.history[0]["train/kl"] == pytest.approx(0, abs=1e-6)
    whole = compute(cell, bench)
    losses = [[row["train/loss"] for row in computed.history] for computed in (whole, found)]
    np.testing.assert_allclose(*losses, rtol=1e-3, atol=1e-3)


def test_a_training_with_too_many_shapes_fails_and_does_not_go_on_without_its_compiler() -> None:
    forget_graphs()
    small = torch.compile(nn.Linear(2, 2), backend="eager", dynamic=False)
    with pytest.raises(Exception, match="recompile_limit"):
        for rows in range(1, MOST_GRAPHS + 2):
            small(torch.ones(rows, 2))


@pytest.mark.full
@pytest.mark.slow
def test_two_compiled_workers_with_an_uneven_batch_agree_with_one_and_go_on_with_the_same_bits(tmp_path: Path) -> None:
    """As the cells of ``ood --gpus 8 --compile``, but for the kernels: the backend ``inductor`` takes minutes here."""
    one = noise_on(1, TINY_VIT, "bfloat16", tmp_path / "one", "cpu", "aot_eager")
    two = noise_on(2, TINY_VIT, "bfloat16", tmp_path / "two", "cpu", "aot_eager")
    for first, second in zip(one["history"], two["history"], strict=True):
        assert second["train/loss"] == pytest.approx(first["train/loss"], rel=1e-2)


def tell_compiler_folders(rank: int, folder: str) -> None:
    Execution(compile=True, feature_cache=folder).prepare()
    Path(folder, f"{rank}.txt").write_text("\n".join([cache_dir(), triton_cache_dir(0)]))


@pytest.mark.slow
def test_workers_of_a_machine_share_what_the_compiler_stores(tmp_path: Path) -> None:
    run_processes(tell_compiler_folders, (str(tmp_path),), 2)
    for rank in range(2):
        graphs, kernels = (tmp_path / f"{rank}.txt").read_text().splitlines()
        assert graphs == str(tmp_path / "compiled") and Path(kernels).is_relative_to(graphs)


def as_files(images: ImageSet, folder: Path, count: int) -> ImageSet:
    """The first images of a set as PNG files on disk."""
    folder.mkdir()
    paths = tuple(folder / f"{i}.png" for i in range(count))
    for path, image in zip(paths, images.images, strict=False):
        Image.fromarray(image.permute(1, 2, 0).numpy()).save(path)
    return replace(images.rows(range(count)), images=Files(paths))


def test_images_from_files_train_and_predict_as_images_in_memory(bench: CellContext, tmp_path: Path) -> None:
    train, val = bench.task.train.rows(range(40)), bench.task.val.rows(range(20))
    files = as_files(train, tmp_path / "train", 40), as_files(val, tmp_path / "val", 20)
    cell = quick_cell("ft", lr=LR)
    found = [
        compute(cell, replace(bench, task=replace(bench.task, train=first, val=second)))
        for first, second in ((train, val), files)
    ]
    assert found[0].history == found[1].history
    assert np.array_equal(found[0].predictions.logits, found[1].predictions.logits)


def test_an_unreadable_image_stops_the_training_by_name(bench: CellContext, tmp_path: Path) -> None:
    files = as_files(bench.task.train, tmp_path / "train", 8)
    whole = files.images.paths[5].read_bytes()
    files.images.paths[5].write_bytes(whole[: len(whole) // 2])
    broken = replace(bench, task=replace(bench.task, train=files))
    with pytest.raises(UserError, match=r"5\.png"):
        compute(quick_cell("ft", lr=LR), broken)


def test_a_border_is_cut_off(tmp_path: Path) -> None:
    image = Image.new("RGB", (12, 10), "red")
    image.paste("green", (2, 2, 10, 8))
    image.save(tmp_path / "framed.png")
    pixels = decode(tmp_path / "framed.png", border=2)
    assert pixels.shape == (3, 6, 8)
    assert pixels[0].max() == 0


@pytest.mark.parametrize(("height", "width"), [(100, 160), (300, 50), (64, 64), (30, 40)])
def test_the_evaluation_view_is_open_clip_s(height: int, width: int) -> None:
    """Within two of 255 levels: open_clip resizes with pillow, this project with torch."""
    rng = np.random.default_rng(0)
    pixels = np.asarray(Image.fromarray(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)).resize((width, height)))
    view = open_clip.image_transform(64, is_train=False, mean=(0, 0, 0), std=(1, 1, 1))
    expected = view(Image.fromarray(pixels)) * 255
    found = CentreView(64)(torch.from_numpy(pixels.copy()).permute(2, 0, 1), 0)
    assert (found.float() - expected).abs().max() <= 2


def test_a_scored_subset_goes_from_images_to_predictions(bench: CellContext, cells: dict[str, Cell]) -> None:
    images = replace(bench.task.val, subset=(0, 2, 3))
    found = bench.predict(cells["ft"], bench.network(), images)
    assert set(found.predicted) <= {0, 2, 3}
    assert found.logits.shape[1] == len(bench.card.classes)


def test_kernels_that_differ_from_run_to_run_are_errors_on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """No GPU is needed: only the settings are looked at."""
    monkeypatch.delenv(CUBLAS_WORKSPACE, raising=False)
    with pytest.raises(AssertionError, match="before the first product"):
        probe_gpu("cuda", "GPU-1")
    try:
        Execution("cuda").prepare()
        assert (
            torch.are_deterministic_algorithms_enabled() and not torch.is_deterministic_algorithms_warn_only_enabled()
        )
        assert not torch.backends.cuda.cudnn_sdp_enabled()
        assert os.environ[CUBLAS_WORKSPACE] == ":4096:8"
    finally:
        torch.backends.cuda.enable_cudnn_sdp(True)


@pytest.mark.full
@pytest.mark.slow
def test_a_process_of_a_sweep_sets_the_workspace_of_cublas_before_its_first_product() -> None:
    script = f"import sweeps.ray_backend.trainable, os; print(os.environ['{CUBLAS_WORKSPACE}'])"
    bare = {name: value for name, value in os.environ.items() if name != CUBLAS_WORKSPACE}
    done = subprocess.run(
        [sys.executable, "-c", script], env=bare, cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == ":4096:8"
