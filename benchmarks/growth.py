"""How cost grows with cells, trials, tasks, searches, seeds, lines of the journal, classes, templates and workers: the
exponent b of cost = c + a x size^b."""

from __future__ import annotations

import gc
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

import torch

from benchmarks.benches import icons
from benchmarks.folders import plant_sweep
from benchmarks.measuring import CORES, ROOT, Figure, environment, growth
from benchmarks.report import PLAN, plant_many
from carft.catalog.catalog import BUILT_IN
from carft.core.garbage import COMMAND_THRESHOLDS
from carft.data.icons.world import nine_tasks
from carft.methods.car_ft import context_divergence
from carft.models.heads import context_logits
from carft.models.network import Network, Prompts
from carft.store.mirror import VARIABLE, MirroredStore
from carft.store.records import Store
from carft_cli.results import list_cells
from reports.build import build_report
from reports.evidence.views import read_evidence
from reports.figures.figure import figures
from sweeps.recipes.loading import load_recipe
from sweeps.search.protocol import Protocol
from tests.support.buckets import Bucket
from tests.support.dry import undisturbed

CELLS = (500, 1500, 4500)  # about a quarter of them unsealed
TRIALS = (10, 100, 1000)
TASKS = (1, 3, 9)
SEARCHES = (4, 16, 64)
SEEDS = (60, 300, 1500)
RECORDED = (25, 100, 400)  # trials of a finished sweep
LINES = (100, 1000, 10_000)
READ = (8, 32, 128)  # searches whose evidence is read
SENT = (125, 500, 2000)  # trials; lines before the first full file of a chain would show another growth
CLASSES = (8, 64, 512)
TEMPLATES = (4, 32, 256)
#: what grows with a sweep: linear, with room for a logarithm
LINEAR = "<= 1.1"
#: what is computed: linear, with room for what three points are off by
COMPUTED = "<= 1.15"
#: figures of the report, most of whose time does not depend on cells
FIGURES = ("answer", "differences")
#: seconds in which a process trains
TRAINING_S = 6


def measure() -> list[Figure]:
    """CPU seconds of this process at each size, the least of three; workers by the wall clock."""
    with _collecting_as_a_command():
        return _figures()


@contextmanager
def _collecting_as_a_command() -> Iterator[None]:
    """Within the block Python looks for garbage as in a command, and not at what other themes left behind."""
    before = gc.get_threshold()
    gc.collect()
    gc.freeze()
    gc.set_threshold(*COMMAND_THRESHOLDS)
    try:
        yield
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()


def _figures() -> list[Figure]:
    bookkeeping = "bookkeeping of a sweep, in"
    return [
        _figure(f"{bookkeeping} trials", TRIALS, [_bookkeeping(tasks=1, trials=n) for n in TRIALS], LINEAR),
        _figure(f"{bookkeeping} tasks", TASKS, [_bookkeeping(tasks=n) for n in TASKS], LINEAR),
        _figure(f"{bookkeeping} searches", SEARCHES, [_bookkeeping(tasks=1, searches=n) for n in SEARCHES], LINEAR),
        _figure(f"{bookkeeping} seeds", SEEDS, [_bookkeeping(tasks=1, seeds=n) for n in SEEDS], LINEAR),
        _figure("the start of a finished sweep, in trials", RECORDED, [_start(n) for n in RECORDED], LINEAR),
        _figure("reading the evidence, in searches", READ, [_evidence(n) for n in READ], LINEAR),
        _figure("writing the journal, in lines", LINES, [_journal(n) for n in LINES], LINEAR),
        _figure("bytes sent to an object store, in trials", SENT, [_sent(n) for n in SENT], LINEAR, "MB", 1e-6),
        _figure("building the heads, in classes", CLASSES, [_heads(classes=n) for n in CLASSES], COMPUTED),
        _figure("building the heads, in templates", TEMPLATES, [_heads(templates=n) for n in TEMPLATES], COMPUTED),
        _figure("CAR-FT's KL, in templates", TEMPLATES, [_divergence(n) for n in TEMPLATES], COMPUTED),
        _figure("a batch's class logits, in classes", CLASSES, [_logits(n) for n in CLASSES], COMPUTED),
        *_in_cells(),  # leaves many objects behind, so that what runs after it costs more
        *_workers(),
    ]


def _figure(
    name: str, sizes: Sequence[int], costs: Sequence[float], target: str, unit: str = "ms", scale: float = 1000
) -> Figure:
    note = ", ".join(f"{size}: {scale * cost:.3g} {unit}" for size, cost in zip(sizes, costs, strict=True))
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


def _bookkeeping(tasks: int = 9, trials: int = 16, searches: int = 1, seeds: int = 2) -> float:
    """The whole protocol of a sweep whose cells take no time: every job handed out, noted, and the studies written."""
    asked = list(nine_tasks()[:tasks])
    recipe = load_recipe("miniature").changed(asked, ["ft", "car_ft"], trials, seeds=seeds, searches=searches)
    with tempfile.TemporaryDirectory() as scratch, patch("os.fsync"):
        return _least(lambda: _swept(Protocol(recipe, Store(tempfile.mkdtemp(dir=scratch)))))


def _swept(protocol: Protocol, note: bool = False) -> None:
    """Hand out every job. note: whether the journal gets a line for each."""
    values = {"val/top1": 0.5, "val/loss": 1.0}
    with patch.object(Store, "metrics", lambda store, cell: values):
        protocol.write_studies()
        while (job := protocol.next_job()) is not None:
            if note:
                protocol.store.note("finished", cell=job.cell.id, task=job.cell.task, method=job.cell.method)
            protocol.end(job)
            protocol.write_studies(at_once=False)
        protocol.write_studies()


def _start(trials: int) -> float:
    """A sweep that finds everything done."""
    recipe = load_recipe("miniature").changed(list(nine_tasks()[:1]), ["ft"], trials, seeds=1)
    with tempfile.TemporaryDirectory() as scratch, patch("os.fsync"):
        undisturbed(recipe, Path(scratch))
        return _least(lambda: Protocol(recipe, Store(scratch)).write_studies())


def _evidence(searches: int) -> float:
    """Records, studies and journal of a finished sweep as a report reads them, with the check of the protocol."""
    recipe = load_recipe("miniature").changed(list(nine_tasks()[:1]), ["ft", "car_ft"], 2, seeds=1, searches=searches)
    with tempfile.TemporaryDirectory() as scratch:
        plant_sweep(recipe, Path(scratch) / "results")
        return _least(lambda: read_evidence(Store(Path(scratch) / "results")))


def _journal(lines: int) -> float:
    with tempfile.TemporaryDirectory() as scratch, patch("os.fsync"):

        def run() -> None:
            store = Store(tempfile.mkdtemp(dir=scratch))
            for number in range(lines):
                store.note("finished", cell=f"{number:016}")

        return _least(run)


def _sent(trials: int) -> float:
    """Bytes of journal and studies that a sweep sends."""
    recipe = load_recipe("miniature").changed(list(nine_tasks()[:1]), ["ft"], trials, seeds=1)
    with tempfile.TemporaryDirectory() as scratch, patch("os.fsync"), patch.dict("os.environ", {VARIABLE: scratch}):
        bucket = Bucket()
        _swept(Protocol(recipe, MirroredStore(bucket, BUILT_IN)), note=True)
        return bucket.sent.total()


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
