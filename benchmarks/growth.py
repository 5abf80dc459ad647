"""How cost grows with cells, tasks, classes, templates and workers: the exponent b of cost = c + a x size^b."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

import torch

from benchmarks.benches import icons
from benchmarks.measuring import CORES, ROOT, Figure, environment, growth
from benchmarks.report import PLAN, plant_many
from carft.catalog.catalog import BUILT_IN
from carft.data.icons.world import nine_tasks
from carft.methods.car_ft import context_divergence
from carft.models.heads import context_logits
from carft.models.network import Network, Prompts
from carft.store.records import Store
from carft_cli.results import list_cells
from reports.build import build_report
from reports.figures.figure import figures
from sweeps.recipes.loading import load_recipe
from sweeps.search.protocol import Protocol

CELLS = (500, 1500, 4500)  # about a quarter of them unsealed
TASKS = (1, 3, 9)
TRIALS = (12, 24, 48)
CLASSES = (8, 64, 512)
TEMPLATES = (4, 32, 256)
#: linear, with room for what three points are off by
LINEAR = "<= 1.15"
#: each job that ends has its study looked at again, with all its trials
LOOKED_AT_AGAIN = "<= 2"
#: figures of the report, most of whose time does not depend on cells
FIGURES = ("answer", "differences")
#: seconds in which a process trains
TRAINING_S = 6


def measure() -> list[Figure]:
    """CPU seconds of this process at each size, the least of three; workers by the wall clock."""
    return [
        *_in_cells(),
        _figure("bookkeeping of a sweep, in tasks", TASKS, [_bookkeeping(tasks=n) for n in TASKS], LINEAR),
        _figure("bookkeeping of a sweep, in trials", TRIALS, [_bookkeeping(trials=n) for n in TRIALS], LOOKED_AT_AGAIN),
        _figure("building the heads, in classes", CLASSES, [_heads(classes=n) for n in CLASSES], LINEAR),
        _figure("building the heads, in templates", TEMPLATES, [_heads(templates=n) for n in TEMPLATES], LINEAR),
        _figure("CAR-FT's KL, in templates", TEMPLATES, [_divergence(n) for n in TEMPLATES], LINEAR),
        _figure("a batch's class logits, in classes", CLASSES, [_logits(n) for n in CLASSES], LINEAR),
        *_workers(),
    ]


def _figure(name: str, sizes: Sequence[int], costs: Sequence[float], target: str) -> Figure:
    note = ", ".join(f"{size}: {1000 * cost:.3g} ms" for size, cost in zip(sizes, costs, strict=True))
    found = growth(sizes, costs)
    note = note if found is not None else f"does not grow: {note}"
    return Figure(f"growth of {name}", found or 0.0, target, len(sizes), unit="exponent", note=note)


def _least(run: Callable[[], object], times: int = 3) -> float:
    taken = []
    for _ in range(times):
        started = time.process_time()
        run()
        taken.append(time.process_time() - started)
    return min(taken)


def _in_cells() -> list[Figure]:
    listing, report = [], []
    few = {name: figures()[name] for name in FIGURES}
    for cells in CELLS:
        with tempfile.TemporaryDirectory() as scratch, patch.dict(figures(), few, clear=True):
            store = Store(Path(scratch) / "results")
            plant_many(store, cells, replace(PLAN, seeds=range(1, 1 + cells // CELLS[0])))
            found = len(store.ids())
            listing.append((found, _least(lambda store=store: list_cells(store))))
            report.append((found, _least(lambda s=store, to=Path(scratch) / "report": build_report(s, to), times=1)))
    return [
        _figure("ls cells, in cells", *zip(*listing, strict=True), LINEAR),
        _figure("the report with two figures, in cells", *zip(*report, strict=True), LINEAR),
    ]


def _bookkeeping(tasks: int = 9, trials: int = 16) -> float:
    """The whole protocol of a sweep whose cells take no time: every job handed out, noted, and the studies written."""
    recipe = load_recipe("miniature").changed(list(nine_tasks()[:tasks]), ["ft", "car_ft"], trials)
    with tempfile.TemporaryDirectory() as scratch, patch("os.fsync"):
        store = Store(scratch)
        protocol = Protocol(recipe, store)
        values = {"val/top1": 0.5, "val/loss": 1.0}

        def run() -> None:
            with patch.object(Store, "metrics", lambda store, cell: values):
                while (job := protocol.next_job()) is not None:
                    protocol.end(job)
                    protocol.write_studies()

        return _least(run, times=1)


def _heads(classes: int = 8, templates: int = 4) -> float:
    pretrained = icons().pretrained
    task = BUILT_IN.card("icons/transport")
    names = tuple(f"thing {number}" for number in range(classes))
    prompts = tuple(f"a picture {number} of a {{}}" for number in range(templates))
    chosen = replace(task, classes=names, templates=prompts, banks={"standard": prompts}, contexts=())
    return _least(lambda: Prompts.of(pretrained, chosen))


def _divergence(templates: int) -> float:
    width = icons().pretrained.width
    features, head = torch.randn(32, width), torch.randn(templates, width)

    def run() -> None:
        for _ in range(500):
            logits = context_logits(features, head, 100.0, 1.0)
            context_divergence(logits, logits, "pretrained-to-tuned")

    return _least(run)


def _logits(classes: int) -> float:
    """The class head alone: the image encoder before it costs the same for any number of classes."""
    setting = icons()
    prompts = replace(setting.prompts, classes=torch.randn(classes, setting.pretrained.width))
    network = Network(setting.pretrained, prompts)
    features = torch.randn(256, setting.pretrained.width)

    def run() -> None:
        with torch.inference_mode():
            for _ in range(200):
                network.head(features)

    return _least(run)


def _workers() -> list[Figure]:
    """Steps per second of one process and of as many as there are cores, each on one thread."""
    if CORES == 1:
        return [Figure("throughput of one process per core over one process", None, note="not run: one core")]
    rates = {1: 0.0, CORES: 0.0}
    for workers in rates:
        processes = [
            subprocess.Popen(
                [sys.executable, "-m", "benchmarks.growth"], cwd=ROOT, env=environment(), stdout=subprocess.PIPE
            )
            for _ in range(workers)
        ]
        rates[workers] = sum(float(process.communicate()[0].split()[-1]) for process in processes)
    gain, note = rates[CORES] / rates[1], "wall clock: other load on the machine lowers it"
    return [Figure(f"throughput of {CORES} processes over one", gain, f">= {0.8 * CORES:g}", note=note)]


def main() -> None:
    """Trainings per second, in this process."""
    setting = icons()
    setting.train("ft")
    started, done = time.perf_counter(), 0
    while time.perf_counter() - started < TRAINING_S:
        setting.train("ft")
        done += 1
    print(done / (time.perf_counter() - started))


if __name__ == "__main__":
    main()
