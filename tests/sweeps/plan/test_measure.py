"""``plan --measure``: what is looked at before time is paid for, on this machine and on one prepared badly."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from carft.core.errors import UnreadableImage, UserError
from carft.store.records import Store
from carft.training.execution import Execution
from sweeps.plan import measuring
from sweeps.plan.measuring import measured_plan, measured_rate
from sweeps.plan.resources import Resources
from sweeps.ray_backend import connect
from sweeps.recipes.loading import load_recipe
from sweeps.recipes.recipe import Recipe
from sweeps.search.protocol import Protocol
from tests.support.folder import draw_pets, write_tasks
from tests.support.helpers import run_cli
from tests.support.processes import run_processes

GIB = 2**30
TINY = ("--model", "icons-resnet", "--pretrained", "icons-3")


def recipe(methods: str) -> Recipe:
    return load_recipe("miniature").changed(["icons-3/mix-7"], methods.split(","), training={"batch_size": 8})


@pytest.mark.slow
def test_this_machine_runs_a_sweep_on_images_of_files(tmp_path: Path) -> None:
    tasks, results = write_tasks(tmp_path, {"name": "my/pets", "path": draw_pets(tmp_path).name}), tmp_path / "results"
    asked = (
        "miniature",
        "--tasks-file",
        tasks,
        "--methods",
        "zeroshot,ft",
        *TINY,
        "--feature-cache",
        tmp_path / "cache",
    )
    done = run_cli("plan", *asked, "--results", results, "--measure", "--json")
    assert done.returncode == 0, done.stderr
    planned = json.loads(done.stdout)
    found = {row["check"]: row["found"] for row in planned["checks"]}
    assert list(found) == ["driver", "memory", "training step"]
    assert "images/s" in found["training step"] and "wanted" in found["memory"]
    assert planned["wall_s"] > 0 and "a measurement" in planned["basis"] and not planned["estimate"]
    assert not results.exists()


@pytest.fixture
def badly_prepared(monkeypatch: pytest.MonkeyPatch) -> None:
    """Eight GPUs behind a driver that is too old, a full disk, and Docker's default of shared memory."""
    for module in (connect, measuring):
        monkeypatch.setattr(module, "nvidia_smi", lambda _: 8 * ["470.82"])
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    sizes = {measuring.SHARED: SimpleNamespace(total=64 * 2**20, free=64 * 2**20)}
    full = SimpleNamespace(total=100 * GIB, free=GIB // 4)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: sizes.get(str(path), full))


@pytest.mark.usefixtures("badly_prepared")
def test_a_machine_that_is_prepared_badly_in_four_ways_is_told_of_each(tmp_path: Path) -> None:
    """The fourth: data and weights are missing. --workers-per-cell 2 needs NCCL, and so shared memory."""
    sweep = ("ood", "--data", tmp_path, "--gpus", 8, "--workers-per-cell", 2, "--results", tmp_path / "results")
    weights = ("--model", "ViT-B-16", "--pretrained", tmp_path / "absent.pt")
    done = run_cli("plan", *sweep, *weights, "--measure")
    assert done.returncode == 1, done.stderr
    obstacles = [line for line in done.stdout.splitlines() if line.startswith("In the way:")]
    assert len(obstacles) == 5
    for words in ("nvidia-smi lists 8 GPUs, and torch sees 0", "64 MiB, with which NCCL fails", "imagenet"):
        assert any(words in line for line in obstacles), words
    assert "--shm-size" in done.stdout and "256 MiB are free" in done.stdout
    assert "There is no weights file" in done.stdout
    assert "driver 470.82 with 8 GPUs" in done.stdout and "not measured" in done.stdout and "Time: about" in done.stdout


def test_an_image_that_cannot_be_read_is_in_the_way(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def unreadable(*given: object) -> None:
        raise UnreadableImage("The image 'a.png' cannot be read.")

    monkeypatch.setattr(measuring, "_rate_of_workers", unreadable)
    refusals: list[UserError] = []
    plan, rows = measured_plan(Protocol(recipe("zeroshot"), store), Resources(), 2, refusals, lambda words: None)
    assert "cannot be read" in refusals[0].message and plan.rate.estimate and "not measured" in rows[-1]["found"]


def test_the_memory_of_a_container_is_what_it_may_use(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measuring, "memory_limit", lambda: GIB / 4)
    refusals = [UserError("No data.")]
    measured_plan(Protocol(recipe("zeroshot"), store), Resources(), 2, refusals, lambda words: None)
    assert "256 MiB are free" in refusals[-1].message


@pytest.mark.slow
def test_as_many_workers_are_measured_as_a_cell_gets(monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers are forks of one process that imports once for all."""
    monkeypatch.setattr(measuring, "start_processes", lambda *given, start_method: run_processes(*given))
    rate = measured_rate(recipe("zeroshot,ft"), Resources(execution=Execution(workers=2)))
    assert rate.basis.endswith("alone on 2 workers") and rate.seconds > 0 and not rate.estimate
    absent = recipe("zeroshot,ft").model_copy(update={"model": "icons-resnet", "pretrained": "absent.pt"})
    with pytest.raises(UserError, match="no weights file"):
        measured_rate(absent, Resources(execution=Execution(workers=2)))


def test_a_measurement_computes_at_the_precision_of_the_recipe() -> None:
    for precision, products in (("tf32", "high"), ("float32", "highest")):
        measured_rate(recipe("zeroshot").model_copy(update={"precision": precision}), Resources())
        assert torch.get_float32_matmul_precision() == products
