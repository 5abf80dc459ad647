"""How cost grows with cells, trials, tasks, searches, seeds, lines of the journal, classes, templates and workers: the
exponent b of cost = c + a x size^b."""

from __future__ import annotations

import gc
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

import torch
from scipy import stats

from benchmarks.benches import icons
from benchmarks.folders import plant_sweep
from benchmarks.measuring import CORES, ROOT, Figure, environment, growth, interleaved
from benchmarks.report import PLAN, plant_many
from carft.catalog.catalog import BUILT_IN
from carft.core.garbage import COMMAND_THRESHOLDS
from carft.data.icons.world import nine_tasks
from carft.methods.car_ft import context_divergence
from carft.models.heads import context_logits
from carft.models.network import Network, Prompts
from carft.store.mirror import VARIABLE
from carft.store.records import Store
from carft_cli.ls import list_cells
from reports.judge.views import evidence_of
from reports.pipeline import build_report
from reports.read.folder import read_folder
from reports.render.figures.figure import figures
from sweeps.recipes.loading import load_recipe
from sweeps.search.protocol import Protocol
from tests.support.buckets import Bucket
from tests.support.dry import undisturbed

CELLS = (297, 891, 2673)  # about a quarter of them unsealed; sizes that plant_many writes exactly
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
Costs = Sequence[float]
Run = Callable[[], object]
Prepare = Callable[[int], AbstractContextManager[Run]]
#: seconds in which a process trains
TRAINING_S = 6


def measure() -> list[Figure]:
    """Exponents from CPU seconds of this process at each size in each round; workers are timed by the wall clock."""
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
    return [
        _timed("bookkeeping of a sweep, in trials", TRIALS, lambda n: _bookkeeping(tasks=1, trials=n)),
        _timed("bookkeeping of a sweep, in tasks", TASKS, lambda n: _bookkeeping(tasks=n)),
        _timed("bookkeeping of a sweep, in searches", SEARCHES, lambda n: _bookkeeping(tasks=1, searches=n)),
        _timed("bookkeeping of a sweep, in seeds", SEEDS, lambda n: _bookkeeping(tasks=1, seeds=n)),
        _timed("the start of a finished sweep, in trials", RECORDED, _start),
        _timed("reading the evidence, in searches", READ, _evidence),
        _timed("writing the journal, in lines", LINES, _journal),
        _grown("bytes sent to an object store, in trials", SENT, [[_sent(n) for n in SENT]], LINEAR, "MB", 1e-6),
        _timed("building the heads, in classes", CLASSES, lambda n: _heads(classes=n), COMPUTED, rounds=8),
        _timed("building the heads, in templates", TEMPLATES, lambda n: _heads(templates=n), COMPUTED, rounds=8),
        _timed("CAR-FT's KL, in templates", TEMPLATES, _divergence, COMPUTED, rounds=8),
        _timed("a batch's class logits, in classes", CLASSES, _logits, COMPUTED, rounds=8),
        _timed("ls cells, in cells", CELLS, _listing),
        _timed("the report with two figures, in cells", CELLS, _report, rounds=3),  # leaves many objects behind
        *_workers(),
    ]


def _timed(name: str, sizes: Sequence[int], prepare: Prepare, target: str = LINEAR, rounds: int = 4) -> Figure:
    """The growth of CPU time. prepare: hands out what is timed at a size, and keeps its files while the block lasts."""
    with ExitStack() as prepared:
        runs = {str(size): prepared.enter_context(prepare(size)) for size in sizes}
        seconds = interleaved(runs, rounds)
    return _grown(name, sizes, list(zip(*seconds.values(), strict=True)), target)


def _grown(
    name: str, sizes: Sequence[int], rounds: Sequence[Costs], target: str, unit: str = "ms", scale: float = 1000
) -> Figure:
    """The mean exponent of the rounds, with its 95 % interval; without one, where not every round grows, that of the
    least costs.

    rounds: the cost of every size, once a round. The note names the least cost of each size.
    """
    least = [min(costs) for costs in zip(*rounds, strict=True)]
    note = ", ".join(f"{size}: {scale * cost:.3g} {unit}" for size, cost in zip(sizes, least, strict=True))
    figure = Figure(f"growth of {name}", growth(sizes, least), target, len(rounds), unit="exponent", note=note)
    if figure.measured is None:
        return replace(figure, measured=0.0, note=f"does not grow: {note}")
    found = [growth(sizes, costs) for costs in rounds]
    exponents = [exponent for exponent in found if exponent is not None]
    if len(rounds) == 1 or len(exponents) < len(rounds):
        return figure
    half = stats.t.ppf(0.975, len(exponents) - 1) * stats.sem(exponents)
    return replace(figure, measured=statistics.mean(exponents), half_width=float(half))


@contextmanager
def _planted(cells: int) -> Iterator[tuple[Store, Path]]:
    """Records of that many cells, and a folder for what is made of them."""
    with tempfile.TemporaryDirectory() as scratch:
        store = Store(Path(scratch) / "results")
        plant_many(store, cells, replace(PLAN, seeds=range(1, 1 + cells // CELLS[0])))
        yield store, Path(scratch) / "report"


@contextmanager
def _listing(cells: int) -> Iterator[Run]:
    with _planted(cells) as (store, _):
        yield lambda: list_cells(store)


@contextmanager
def _report(cells: int) -> Iterator[Run]:
    few = {name: figures()[name] for name in FIGURES}
    with _planted(cells) as (store, out), patch.dict(figures(), few, clear=True):
        yield lambda: build_report(store, out)


@contextmanager
def _bookkeeping(tasks: int = 9, trials: int = 16, searches: int = 1, seeds: int = 2) -> Iterator[Run]:
    """The whole protocol of a sweep whose cells take no time: every job handed out, noted, and the studies written."""
    asked = list(nine_tasks()[:tasks])
    recipe = load_recipe("miniature").changed(asked, ["ft", "car_ft"], trials, seeds=seeds, searches=searches)
    with tempfile.TemporaryDirectory() as scratch, patch("os.fsync"):
        yield lambda: _swept(Protocol(recipe, Store(tempfile.mkdtemp(dir=scratch))))


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


@contextmanager
def _start(trials: int) -> Iterator[Run]:
    """A sweep that finds everything done."""
    recipe = load_recipe("miniature").changed(list(nine_tasks()[:1]), ["ft"], trials, seeds=1)
    with tempfile.TemporaryDirectory() as scratch, patch("os.fsync"):
        undisturbed(recipe, Path(scratch))
        yield lambda: Protocol(recipe, Store(scratch)).write_studies()


@contextmanager
def _evidence(searches: int) -> Iterator[Run]:
    """Records, studies and journal of a finished sweep as a report reads them, with the check of the protocol."""
    recipe = load_recipe("miniature").changed(list(nine_tasks()[:1]), ["ft", "car_ft"], 2, seeds=1, searches=searches)
    with tempfile.TemporaryDirectory() as scratch:
        plant_sweep(recipe, Path(scratch) / "results")
        yield lambda: evidence_of(read_folder(Store(Path(scratch) / "results")))


@contextmanager
def _journal(lines: int) -> Iterator[Run]:
    with tempfile.TemporaryDirectory() as scratch, patch("os.fsync"):

        def run() -> None:
            store = Store(tempfile.mkdtemp(dir=scratch))
            for number in range(lines):
                store.note("finished", cell=f"{number:016}")

        yield run


def _sent(trials: int) -> float:
    """Bytes of journal and studies that a sweep sends."""
    recipe = load_recipe("miniature").changed(list(nine_tasks()[:1]), ["ft"], trials, seeds=1)
    with tempfile.TemporaryDirectory() as scratch, patch("os.fsync"), patch.dict("os.environ", {VARIABLE: scratch}):
        bucket = Bucket()
        _swept(Protocol(recipe, bucket), note=True)
        return bucket.sent.total()


@contextmanager
def _heads(classes: int = 8, templates: int = 4) -> Iterator[Run]:
    pretrained = icons().pretrained
    task = BUILT_IN.card("icons-3/mix-7")
    names = tuple(f"thing {number}" for number in range(classes))
    prompts = tuple(f"a picture {number} of a {{}}" for number in range(templates))
    chosen = replace(task, classes=names, templates=prompts, banks={"standard": prompts}, contexts=())
    yield lambda: Prompts.of(pretrained, chosen)


@contextmanager
def _divergence(templates: int) -> Iterator[Run]:
    width = icons().pretrained.width
    features, head = torch.randn(32, width), torch.randn(templates, width)

    def run() -> None:
        for _ in range(500):
            logits = context_logits(features, head, 100.0, 1.0)
            context_divergence(logits, logits, "pretrained-to-tuned")

    yield run


@contextmanager
def _logits(classes: int) -> Iterator[Run]:
    """The class head alone: the image encoder before it costs the same for any number of classes."""
    setting = icons()
    prompts = replace(setting.prompts, classes=torch.randn(classes, setting.pretrained.width))
    network = Network(setting.pretrained, prompts)
    features = torch.randn(256, setting.pretrained.width)

    def run() -> None:
        with torch.inference_mode():
            for _ in range(200):
                network.head(features)

    yield run


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
