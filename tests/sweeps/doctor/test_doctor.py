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
from sweeps.doctor import checks, hardware
from sweeps.doctor.hardware import cards_of, in_processes, judged
from sweeps.doctor.subject import Subject
from sweeps.plan.rates import Rate, Rates
from sweeps.plan.resources import Resources
from sweeps.ray_backend import connect
from sweeps.recipes.loading import load_recipe
from sweeps.recipes.recipe import Recipe
from sweeps.search.protocol import Protocol
from tests.support.folder import draw_pets, write_tasks
from tests.support.helpers import run_cli

GIB = 2**30
#: what nvidia-smi prints of a healthy H100 under load, after its UUID
HEALTHY = "1755, 1980, 700.00, 700.00, 1210, 0"


def checks_of(printed: str) -> dict[str, dict[str, Any]]:
    """Name -> check; of several with one name the words of all are together."""
    found: dict[str, dict[str, Any]] = {}
    for check in json.loads(printed)["checks"]:
        words = found.get(check["name"], {}).get("measured", "")
        found[check["name"]] = {**check, "measured": f"{words} {check['measured']}".strip()}
    return found


@pytest.fixture
def small_writes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "WRITTEN", checks.PART)


def decoding_rate_soon(*given: Any) -> float:
    """In a process of its own."""
    checks.DECODING_S = 0.1
    return DECODING_RATE(*given)


DECODING_RATE = checks.decoding_rate


@pytest.mark.slow
@pytest.mark.usefixtures("small_writes")
def test_this_machine_runs_a_sweep_on_images_of_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "decoding_rate", decoding_rate_soon)
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
    assert "gloo among 2 workers" in found["exchange"]["measured"]
    assert "images/s" in found["training step"]["measured"] and "images of the task" in found["decoding"]["measured"]
    assert "images/s" in found["disk of data"]["measured"] and "MiB/s written" in found["disk of results"]["measured"]
    forecast = json.loads(done.stdout)["forecast"]
    assert forecast["wall_s"] > 0 and "a measurement" in forecast["basis"]
    assert not results.exists() and not list(tmp_path.glob(".carft-doctor-*"))


@pytest.fixture
def badly_prepared(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Eight GPUs behind a driver that is too old, two cores, a full disk, and Docker's default of shared memory."""
    monkeypatch.setattr(connect, "nvidia_smi", lambda _: 8 * ["470.82"])
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    monkeypatch.setattr(checks, "cores", lambda: 2)
    sizes = {hardware.SHARED: SimpleNamespace(total=64 * 2**20, free=64 * 2**20)}
    full = SimpleNamespace(total=100 * GIB, free=GIB // 4)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: sizes.get(str(path), full))
    yield


@pytest.mark.usefixtures("badly_prepared")
def test_a_machine_that_is_prepared_badly_in_five_ways_is_refused_for_each(tmp_path: Path) -> None:
    """The fifth: data and weights are missing. --workers-per-cell 2 needs NCCL, and so shared memory."""
    sweep = ("ood", "--data", tmp_path, "--gpus", 8, "--workers-per-cell", 2, "--results", tmp_path / "results")
    weights = ("--model", "ViT-B-16", "--pretrained", tmp_path / "absent.pt")
    done = run_cli("doctor", *sweep, *weights, "--json")
    assert done.returncode == 2, done.stderr
    found = checks_of(done.stdout)
    stops = {name: f"{check['measured']} {check['remedy']}" for name, check in found.items() if check["stops"]}
    assert set(stops) == {"driver", "shared memory", "data and weights", "decoding", "disk of results"}
    assert "nvidia-smi lists 8 GPUs, and torch sees 0" in stops["driver"] and "driver is 470.82" in stops["driver"]
    assert "64 MiB" in stops["shared memory"] and "--shm-size" in stops["shared memory"]
    assert "imagenet" in stops["data and weights"] and "There is no weights file" in stops["data and weights"]
    assert "2 CPU cores for 8 cells" in stops["decoding"] and "--gpus 2" in stops["decoding"]
    assert re.search(r"where \d+ MiB are free", stops["disk of results"])
    assert "not measured" in found["training step"]["measured"] and found["training step"]["ok"]
    told = run_cli("doctor", *sweep, *weights)
    assert told.returncode == 2 and told.stdout.count("Obstacle:") == 6 and "Time: about" in told.stdout


@pytest.mark.usefixtures("badly_prepared")
def test_shared_memory_stops_no_cell_of_one_worker(tmp_path: Path) -> None:
    sweep = ("ood", "--data", tmp_path, "--gpus", 8, "--workers-per-cell", 1, "--results", tmp_path / "results")
    found = checks_of(run_cli("doctor", *sweep, "--json").stdout)["shared memory"]
    assert not found["stops"] and "--shm-size" in found["remedy"]


def test_an_object_store_that_does_not_answer_is_refused_before_anything_is_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    monkeypatch.setattr(mirror, "ATTEMPTS", 1)
    monkeypatch.setenv("CARFT_MIRRORS", str(tmp_path))
    done = run_cli("doctor", "miniature", "--results", "s3://lab/runs", "--json")
    assert done.returncode == 2 and done.stdout == ""
    assert "'s3://lab/runs' cannot be used: network connection" in done.stderr and "docs/cluster.md" in done.stderr


@pytest.mark.parametrize(
    ("line", "slowed", "tflops", "says"),
    [
        (HEALTHY, "0x0000000000000004", 700, ""),  # the cap of power is the usual limit under load
        (HEALTHY, "0x0000000000000040", 700, "slowed down by heat"),
        ("1755, 1980, 700.00, 700.00, 1210, 3", "0x0", 700, "3 uncorrected errors"),
        ("1755, 1980, 500.00, 700.00, 1210, 0", "0x0", 700, "limited to 500 W of 700 W"),
        ("1755, 1980, 700.00, 700.00, 40210, [N/A]", "0x0", 700, "40210 MiB of its memory in use"),
        ("1355, 1980, 700.00, 700.00, 1210, 0", "0x0", 525, "25% slower than the fastest"),
        ("1755, 1980, [N/A], [N/A], 1210, N/A", "", 700, ""),
        ("1755, 1980, ERR!, 700.00, 1210, 0", "0x0", 700, ""),
    ],
)
def test_a_card_unlike_its_neighbours_is_named(line: str, slowed: str, tflops: float, says: str) -> None:
    lines = [f"GPU-a, {HEALTHY}", f"GPU-other, {HEALTHY}", f"GPU-b, {line}"]
    found = judged(cards_of(lines, ["0x0", "0x0", slowed], {"GPU-a": 700.0, "GPU-b": tflops}))
    assert found.measured.startswith(f"2 cards, {tflops:.0f} to 700 TFLOP/s")
    assert found.ok == (not says) and says in found.measured and ("GPU-b" in found.measured) == bool(says)


def test_cards_that_nvidia_smi_does_not_list_are_no_obstacle() -> None:
    assert judged(cards_of([], [], {"GPU-a": 700.0})).ok


def subject_of(store: Store, execution: Execution | None = None, gpus: int = 0) -> Subject:
    chosen = load_recipe("miniature").changed(["icons-3/mix-7"])
    request = Resources(gpus, execution or Execution())
    return Subject(chosen, request, Protocol(chosen, store), lambda words: None)


def test_an_image_that_cannot_be_read_is_found_once(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    refusals = [UnreadableImage("The image 'a.png' cannot be read.")]
    monkeypatch.setattr("sweeps.doctor.subject.obstacles", lambda *_, **__: [])
    monkeypatch.setattr("sweeps.doctor.subject.calibrated", lambda *given: _raise(refusals.pop()))
    subject = subject_of(store)
    with pytest.raises(UserError, match="cannot be read"):
        checks.training_step(subject)
    assert subject.plan.rates.estimate


@pytest.mark.parametrize(
    ("compiled_s", "asked", "measured", "advice"),
    [
        (0.7, False, "takes 0.70 times as long", "Give --compile"),
        (0.7, True, "takes 0.70 times as long", ""),
        (0.95, False, "takes 0.95 times as long", ""),
        (1.2, True, "takes 1.20 times as long", "Leave --compile out"),
        (None, False, "does not train with it: A training step failed: no compiler.", ""),
    ],
)
def test_a_compiled_step_is_measured_beside_an_eager_one_and_the_faster_is_recommended(
    store: Store,
    monkeypatch: pytest.MonkeyPatch,
    compiled_s: float | None,
    asked: bool,
    measured: str,
    advice: str,
) -> None:
    """The two measurements on a GPU are played."""

    def timed(recipe: Recipe, request: Resources) -> Rates:
        seconds = compiled_s if request.execution.compile else 1.0
        if seconds is None:
            raise RuntimeError("no compiler")
        return Rates(Rate(seconds, seconds, seconds), Rate(1, 1, 1), "a test")

    monkeypatch.setattr("sweeps.doctor.subject.obstacles", lambda *_, **__: [])
    monkeypatch.setattr("sweeps.doctor.subject.calibrated", timed)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    subject = subject_of(store, Execution("cuda", compile=asked), gpus=1)
    found = checks.compiling(subject)
    assert measured in found.measured and found.remedy.startswith(advice) and bool(found.remedy) == bool(advice)


def _raise(error: Exception) -> None:
    raise error


@pytest.mark.usefixtures("small_writes")
@pytest.mark.parametrize(("free", "ok"), [(GIB, False), (3 * GIB, True)])
def test_what_a_cache_holds_counts_as_its_room(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free: int, ok: bool
) -> None:
    with (tmp_path / "views-1.npy").open("wb") as file:
        file.truncate(8 * GIB)  # takes no space
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=free))
    assert checks.cache_disk(subject_of(store, Execution(feature_cache=str(tmp_path)))).ok == ok


def test_the_memory_of_a_container_is_what_it_may_use(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sweeps.doctor.subject.obstacles", lambda *_, **__: [UserError("No data.")])
    monkeypatch.setattr(hardware, "memory_limit", lambda: GIB / 4)
    found = hardware.host_memory(subject_of(store))
    assert found.remedy and "256 MiB available" in found.measured


def test_made_up_photos_are_decoded_where_no_data_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from carft.config.settings import Training

    monkeypatch.setattr(checks, "DECODING_S", 0.1)
    for augmentation in ("crop", "domainbed"):
        training = Training(epochs=1, augmentation=augmentation)  # type: ignore[arg-type]
        assert checks.decoding_rate(0, 1, str(tmp_path), [], training, 1) > 1


@pytest.mark.slow
def test_a_process_that_fails_is_an_error_with_its_reason() -> None:
    with pytest.raises(UserError, match="the reason"):
        in_processes(_fail, 1)


def _fail(rank: int, count: int, folder: str) -> None:
    raise ValueError("the reason")
