"""What a sweep would take: counted exactly, timed from what was measured, an estimate only where it says so."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from carft.catalog.catalog import BUILT_IN
from carft.catalog.families import CARDS
from carft.config.cell import Cell, Training
from carft.core.errors import UserError
from carft.models.availability import BUILT_IN_SIZES, ModelSize, counted, find_weights, size_of
from carft.store.failures import write_failure
from carft.store.record_files import Record
from carft.store.records import Store
from carft.training.execution import Execution, hardware_facts
from sweeps.plan.planning import OVERHEAD, START_S, Plan, plan_of
from sweeps.plan.rates import SPREAD, Costs, Hardware, Rate, estimated, recorded
from sweeps.plan.resources import Resources
from sweeps.plan.work import PendingWork, simulate
from sweeps.ray_backend.preflight import obstacles, require_space
from sweeps.recipes.loading import load_recipe
from sweeps.recipes.recipe import Recipe
from sweeps.search.jobs import JobKind
from sweeps.search.protocol import Protocol
from tests.support.folder import Folder
from tests.support.helpers import LR, made_up_predictions, quick_cell, run_cli

TASK = "icons-3/mix-7"
HERE = Hardware("cpu", 1, "float32", hardware_facts("cpu"))
COSTS = Costs(BUILT_IN, Execution())
RESNET = ("--model", "icons-resnet", "--pretrained", "icons-3")


def recipe(methods: str = "zeroshot,ft,wise_ft", trials: int = 4, seeds: int = 3) -> Recipe:
    return load_recipe("miniature").changed([TASK], methods.split(","), trials, seeds)


def timed(store: Store, chosen: Recipe, slots: int = 2) -> Plan:
    return plan_of(Protocol(chosen, store), Resources(), slots, Rate(0.001, 0.0005, 0.002, "a test"))


def made(cell: Cell, seconds: float, **execution: object) -> Record:
    how = {"execution": {"device": "cpu", "workers": 1, **execution}, "machine": hardware_facts("cpu"), "numerics": 1}
    return Record(cell, {"val/top1": 0.5, "val/loss": 1.0}, how, {"train": seconds})


def write(store: Store, cell: Cell, top1: float) -> None:
    record = Record(cell, {"val/top1": top1, "val/loss": 1.0}, made(cell, 1).provenance, {"train": 1.0})
    store.write(record, [], made_up_predictions())


@pytest.mark.usefixtures("whole_world")
@pytest.mark.parametrize("task", [TASK, "icons-3/all"])
def test_the_images_of_the_built_in_world_are_counted_without_drawing_them(task: str) -> None:
    sizes = COSTS.sizes(task)
    if task == TASK:
        opened, sealed = BUILT_IN.open(task, Folder()), BUILT_IN.unseal(task, Folder())
        found = len(opened.train), len(opened.val), sum(map(len, sealed.sets().values()))
        assert (sizes.train, sizes.val, sizes.sealed) == found
    assert min(sizes.train, sizes.val, sizes.sealed) > 0


def test_every_task_of_the_catalog_can_be_counted() -> None:
    for task in CARDS:
        assert COSTS.sizes(task).train >= COSTS.sizes(task).val > 0, task
    assert COSTS.sizes("imagenet").train + COSTS.sizes("imagenet").val == 1_281_167
    assert COSTS.sizes("imagenet").sealed == 50_000 + 10_000 + 30_000 + 7_500 + 50_889 + 18_574


@pytest.mark.parametrize("methods", ["ft,car_ft,soup", "zeroshot,linear_probe,car_ft,wise_ft", "ft"])
def test_the_cells_to_run_are_those_that_the_protocol_hands_out(methods: str, store: Store) -> None:
    chosen = recipe(methods)
    protocol, jobs = Protocol(chosen, store), []
    expected = timed(store, chosen).cells
    while job := protocol.next_job():
        jobs.append(job)
        for cell in job.cells():
            write(store, cell, top1=0.5)
            for name in BUILT_IN.card(TASK).sets:
                store.add_evaluation(cell.id, name, {f"{name}/top1": 0.5}, made_up_predictions(), {})
        protocol.end(job)
        assert timed(store, chosen).cells == expected - sum(len(job.cells()) for job in jobs)
    assert timed(store, chosen).cells == 0
    assert timed(store, chosen).wall_s == 0


def test_cells_that_failed_for_good_are_not_to_run(store: Store) -> None:
    chosen = recipe("ft")
    job = Protocol(chosen, store).next_job()
    assert job is not None
    write_failure(store, job.cell, "diverged", "NaN", job=job.kind)
    unknown = estimated(None, HERE)
    found = plan_of(Protocol(chosen, store, retry_failed=False), Resources(), 1, unknown)
    assert (found.cells, found.failed, found.wall_s) == (6, 1, 0)
    assert plan_of(Protocol(chosen, store), Resources(), 1, unknown).cells == 7


def test_time_is_that_of_jobs_that_wait_for_each_other(store: Store) -> None:
    """Four trials, then three confirm cells: the last of them runs alone on two slots."""
    one, two, many = (timed(store, recipe("ft"), slots) for slots in (1, 2, 1000))
    cell = COSTS.passes("ft", TASK, recipe().training) * 0.001
    confirm = cell + COSTS.sizes(TASK).sealed * 0.001
    assert one.wall_s - START_S == pytest.approx(4 * cell + 3 * confirm) == pytest.approx(one.busy_s)
    assert two.wall_s - START_S == pytest.approx(2 * cell + 2 * confirm)
    assert many.wall_s - START_S == pytest.approx(cell + confirm)


def test_confirm_cells_follow_searches_and_free_slots_take_the_longest_job() -> None:
    def work(kind: JobKind, jobs: int, passes: float) -> PendingWork:
        return PendingWork(kind, "task", "ft", jobs, jobs, passes, 1, 0.0)

    left = [work("confirm", 1, 4.0), work("search", 3, 2.0), work("confirm", 2, 2.0), work("curve", 1, 1.0)]
    assert simulate(left, 2, lambda work: work.passes) == 4 + 4 + 1
    assert simulate([], 4, lambda work: work.passes) == 0


def test_a_rate_is_the_median_of_the_trained_records_that_fit(store: Store) -> None:
    cells = [quick_cell("ft", seed, lr=LR) for seed in range(3)]
    passes = COSTS.passes("ft", TASK, Training(epochs=1))
    records = [made(cell, seconds) for cell, seconds in zip(cells, (1.0, 2.0, 6.0), strict=True)]
    zero_shot = quick_cell("zeroshot")
    others = [made(zero_shot, 100.0)]
    for execution in ({"device": "cuda"}, {"workers": 2}, {"compile": True}):
        others.append(made(cells[0], 100.0, **execution))
    assert recorded(others, HERE, COSTS) is None
    rate = recorded([*records, *others], HERE, COSTS)
    assert rate is not None and not rate.estimate and rate.basis.startswith("3 cells on record here")
    assert (rate.low, rate.seconds, rate.high) == pytest.approx(
        (1.0 / passes / SPREAD, 2.0 / passes, 6.0 / passes * SPREAD)
    )
    planned = plan_of(Protocol(recipe("zeroshot,ft"), store), Resources(), 1, rate)
    assert planned.busy_s == pytest.approx(rate.seconds * sum(work.jobs * work.passes for work in planned.left))


def test_an_estimate_says_that_it_is_one(store: Store) -> None:
    found = plan_of(Protocol(recipe(), store), Resources(), 2)
    assert (found.total, found.done, found.cells) == (1 + 4 + 3 + 9, 0, 17)
    assert found.steps == (4 + 3) * -(-COSTS.sizes(TASK).train // 32) * recipe().training.epochs
    assert found.rate.estimate and "an estimate, not a measurement" in found.rate.basis
    work = found.wall_s - START_S
    assert (found.low_s, found.high_s) == pytest.approx((START_S + work / 4, OVERHEAD * (START_S + 4 * work)))
    bigger = estimated(ModelSize(2e9, 1), HERE)
    assert bigger.seconds == pytest.approx(2 * estimated(ModelSize(1e9, 1), HERE).seconds)
    store.write(made(quick_cell("ft", lr=LR), 3.0), [], made_up_predictions())
    measured = plan_of(Protocol(recipe(), store), Resources(), 2)
    assert not measured.rate.estimate and "1 cell on record here" in measured.rate.basis


def test_an_estimate_on_a_known_card_is_a_share_of_its_peak() -> None:
    vit = ModelSize(flop=35.1e9, parameters=86_000_000)
    h100, a100 = (Hardware("cuda", 1, "bfloat16", gpu_model=name) for name in ("H100", "NVIDIA A100-SXM4-80GB"))
    rate = estimated(vit, h100)
    assert rate.seconds == pytest.approx(35.1e9 / 989e12 / 0.30) and rate.low < rate.seconds < rate.high
    assert estimated(vit, a100).seconds / rate.seconds == pytest.approx(989 / 312)
    named = Hardware("cuda", 1, "bfloat16", {"gpu": "NVIDIA H100 80GB HBM3"})
    assert named.card == h100.card and "H100" in estimated(vit, named).basis
    unknown = Hardware("cuda", 1, "bfloat16", {"gpu": "NVIDIA L400"})
    assert unknown.card is None and estimated(vit, unknown).seconds > 4 * rate.seconds
    assert Hardware("cpu", 1, "float32", gpu_model="H100").card is None


def test_a_plan_of_imagenet_on_an_h100_is_near_the_calculation_by_hand(store: Store) -> None:
    """Images, epochs, three passes of 35.1 GFLOP at 30 % of 989 TFLOP/s, 14 times."""
    by_hand_s = 14 * 1.26e6 * 10 * 3 * 35.1e9 / 297e12
    request = Resources(8, Execution("cuda"), gpu_model="H100")
    made = plan_of(Protocol(load_recipe("ood"), store), request, 8)
    assert by_hand_s / 1.5 < made.busy_s < 1.5 * by_hand_s
    assert 20.5 / 1.3 < made.device_hours < 1.3 * 20.5


def test_the_known_size_of_the_built_in_model_is_the_counted_one() -> None:
    assert all(counted(model) == size for model, size in BUILT_IN_SIZES.items())
    large = size_of("ViT-B-16")
    assert large is not None and 30e9 < large.flop < 40e9
    # 12 blocks of 197 tokens x 768 numbers keep ten to twenty tensors of this size each
    assert 10 < large.kept_bytes / (12 * 197 * 768 * 4) < 25
    assert size_of("no-such-model") is None


def test_weights_of_the_hub_are_refused_where_neither_cache_nor_hub_has_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("carft.models.clip.reachable", lambda address: False)
    with pytest.raises(UserError, match="cannot be reached"):
        find_weights("ViT-B-16", "openai")
    monkeypatch.setattr("carft.models.clip.reachable", lambda address: True)
    assert "timm/vit_base_patch16_clip_224.openai" in find_weights("ViT-B-16", "openai")


def test_everything_in_the_way_is_found_at_once_and_once(tmp_path: Path) -> None:
    chosen = load_recipe("downstream").changed(
        ["pets", "dtd"], ["zeroshot", "car_ft_permuted"], model="ViT-B-16", pretrained="nix"
    )
    request = Resources(execution=Execution(workers=512, data=str(tmp_path)))
    words = [refusal.message for refusal in obstacles(chosen, request)]
    assert len(words) == 5
    assert [
        part in word for part, word in zip(("512", "car_ft_permuted", "pets", "dtd", "nix"), words, strict=True)
    ] == [True] * 5


def test_a_sweep_that_does_not_fit_the_disk_is_refused(tmp_path: Path) -> None:
    require_space(tmp_path / "not" / "there", 1)
    with pytest.raises(UserError, match="would write about"):
        require_space(tmp_path / "not" / "there", 2**60)


def test_plan_takes_the_options_of_sweep_and_lists_what_is_in_the_way(tmp_path: Path) -> None:
    same = ("downstream", "--tasks", "pets,flowers", "--data", tmp_path, "--results", tmp_path / "results", "--json")
    done = run_cli("plan", *same)
    assert done.returncode == 1, done.stderr
    found = json.loads(done.stdout)
    assert found["estimate"] and found["cells"] == 2 * 45 and not (tmp_path / "results").exists()
    assert sum("data set" in one["what"] for one in found["obstacles"]) == 2
    assert all("data check" in one["how"] for one in found["obstacles"] if "data set" in one["what"])
    refused = run_cli("sweep", *same, in_process=True)
    assert refused.returncode == 2 and "pets is not here" in refused.stderr


def test_a_plan_of_imagenet_asks_for_the_suites_that_are_named(tmp_path: Path) -> None:
    for name in ("imagenet", "imagenet-r"):
        BUILT_IN.data_sets(name)[0].fixture(tmp_path)
    same = ("plan", "ood", "--data", tmp_path, "--results", tmp_path / "results", *RESNET, "--json")
    whole, chosen = (json.loads(run_cli(*same, *more).stdout) for more in ((), ("--suites", "imagenet-r")))
    (missing,) = whole["obstacles"]
    assert "imagenet-v2" in missing["what"]
    assert chosen["obstacles"] == [] and chosen["bytes"] < whole["bytes"]
