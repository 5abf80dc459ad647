"""What is looked at before time is paid for: this machine, and machines that are prepared badly."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from carft.core.errors import UnreadableImage, UserError
from carft.store import mirror
from carft.store.records import Store
from carft.training.execution import Execution
from sweeps.doctor import checks
from sweeps.plan.resources import Resources
from sweeps.ray_backend import connect
from sweeps.recipes.loading import load_recipe
from sweeps.search.protocol import Protocol
from tests.support.folder import draw_pets, write_tasks
from tests.support.helpers import run_cli

GIB = 2**30


def checks_of(printed: str) -> dict[str, dict[str, Any]]:
    """Name -> check; of several with one name the words of all are together."""
    found: dict[str, dict[str, Any]] = {}
    for check in json.loads(printed)["checks"]:
        words = found.get(check["name"], {}).get("measured", "")
        found[check["name"]] = {**check, "measured": f"{words} {check['measured']}".strip()}
    return found


@pytest.mark.slow
def test_this_machine_runs_a_sweep_on_images_of_files(tmp_path: Path) -> None:
    sweep = (
        "miniature",
        "--tasks-file",
        write_tasks(tmp_path, {"name": "my/pets", "path": draw_pets(tmp_path).name}),
        "--methods",
        "zeroshot,ft",
        "--model",
        "icons-resnet",
        "--pretrained",
        "icons-3",
    )
    results = tmp_path / "results"
    done = run_cli("doctor", *sweep, "--results", results, "--feature-cache", tmp_path / "cache", "--json")
    assert done.returncode == 0, done.stderr
    found = checks_of(done.stdout)
    assert not [check for check in found.values() if check["stops"]]
    assert list(found) == ["data and weights", "driver", "training step", "disk", "memory"]
    assert "images/s" in found["training step"]["measured"] and "wanted" in found["disk"]["measured"]
    forecast = json.loads(done.stdout)["forecast"]
    assert forecast["wall_s"] > 0 and "a measurement" in forecast["basis"]
    assert not results.exists()


@pytest.fixture
def badly_prepared(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Eight GPUs behind a driver that is too old, a full disk, and Docker's default of shared memory."""
    monkeypatch.setattr(connect, "nvidia_smi", lambda _: 8 * ["470.82"])
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    sizes = {checks.SHARED: SimpleNamespace(total=64 * 2**20, free=64 * 2**20)}
    full = SimpleNamespace(total=100 * GIB, free=GIB // 4)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: sizes.get(str(path), full))
    yield


@pytest.mark.usefixtures("badly_prepared")
def test_a_machine_that_is_prepared_badly_in_four_ways_is_refused_for_each(tmp_path: Path) -> None:
    """The fourth: data and weights are missing. --workers-per-cell 2 needs NCCL, and so shared memory."""
    sweep = ("ood", "--data", tmp_path, "--gpus", 8, "--workers-per-cell", 2, "--results", tmp_path / "results")
    weights = ("--model", "ViT-B-16", "--pretrained", tmp_path / "absent.pt")
    done = run_cli("doctor", *sweep, *weights, "--json")
    assert done.returncode == 2, done.stderr
    found = checks_of(done.stdout)
    stops = {name: f"{check['measured']} {check['remedy']}" for name, check in found.items() if check["stops"]}
    assert set(stops) == {"driver", "memory", "data and weights", "disk"}
    assert "nvidia-smi lists 8 GPUs, and torch sees 0" in stops["driver"] and "driver is 470.82" in stops["driver"]
    assert "64 MiB" in stops["memory"] and "--shm-size" in stops["memory"]
    assert "imagenet" in stops["data and weights"] and "There is no weights file" in stops["data and weights"]
    assert re.search(r"where \d+ MiB are free", stops["disk"])
    assert "not measured" in found["training step"]["measured"] and found["training step"]["ok"]
    told = run_cli("doctor", *sweep, *weights)
    assert told.returncode == 2 and told.stdout.count("Obstacle:") == 5 and "Time: about" in told.stdout


def test_an_object_store_that_does_not_answer_is_refused_before_anything_is_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    monkeypatch.setattr(mirror, "ATTEMPTS", 1)
    monkeypatch.setenv("CARFT_MIRRORS", str(tmp_path))
    done = run_cli("doctor", "miniature", "--results", "s3://lab/runs", "--json")
    assert done.returncode == 2 and done.stdout == ""
    assert "'s3://lab/runs' cannot be used: network connection" in done.stderr and "docs/cluster.md" in done.stderr


def subject_of(store: Store, execution: Execution | None = None) -> checks.Subject:
    chosen = load_recipe("miniature").changed(["icons-3/mix-7"])
    return checks.Subject(Protocol(chosen, store), Resources(0, execution or Execution()), lambda words: None)


def test_an_image_that_cannot_be_read_is_found_once(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    refusals = [UnreadableImage("The image 'a.png' cannot be read.")]
    monkeypatch.setattr(checks, "obstacles", lambda *_, **__: [])
    monkeypatch.setattr(checks, "measured_rate", lambda *given: _raise(refusals.pop()))
    subject = subject_of(store)
    with pytest.raises(UserError, match="cannot be read"):
        checks.training_step(subject)
    assert subject.plan.rate.estimate


def _raise(error: Exception) -> None:
    raise error


@pytest.mark.parametrize(("free", "ok"), [(GIB, False), (3 * GIB, True)])
def test_what_a_cache_holds_counts_as_its_room(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free: int, ok: bool
) -> None:
    with (tmp_path / "views-1.npy").open("wb") as file:
        file.truncate(8 * GIB)  # takes no space
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=free))
    monkeypatch.setattr(checks, "measured_rate", lambda *given: None)
    assert checks.disk(subject_of(store, Execution(feature_cache=str(tmp_path)))).ok == ok


def test_the_memory_of_a_container_is_what_it_may_use(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "obstacles", lambda *_, **__: [UserError("No data.")])
    monkeypatch.setattr(checks, "memory_limit", lambda: GIB / 4)
    found = checks.memory(subject_of(store))
    assert found.remedy and "256 MiB available" in found.measured
