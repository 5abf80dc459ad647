"""Run one cell: open the task, train, evaluate, write the record. Unseal it. Interpolate it."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Literal

from safetensors.torch import load_file, save_file

from carft.cell import Cell, Training
from carft.data.catalog import Card, card
from carft.data.task import ImageSet, Task
from carft.errors import Diverged, Refusal
from carft.evaluation import predict
from carft.execution import Execution, provenance
from carft.methods import WISE_ALPHAS, check_hyperparameters, method_card
from carft.metrics import Predictions, flatten, score
from carft.models import Pretrained, load_pretrained
from carft.network import Network, Prompts
from carft.records import Record, Store
from carft.specify import interpolation
from carft.training import Row, train

Status = Literal["done", "reused"]
Command = Literal["train", "sweep", "interpolate"]  # what opens a sealed set, as the log of unsealings says it


@dataclass(frozen=True)
class Bench:
    """Everything a cell needs besides itself: the task, the pretrained model and the frozen text side."""

    task: Task
    pretrained: Pretrained
    prompts: Prompts
    card: Card

    @staticmethod
    def of(cell: Cell, execution: Execution) -> Bench:
        """Open the task and load the model; both are kept for the next cell of this process."""
        chosen = card(cell.task)
        if chosen.version != cell.data_version:
            raise Refusal(
                f"Cell {cell.id} was specified for data version {cell.data_version} of {cell.task}; "
                f"here it is {chosen.version}.",
                "Run the sweep again with this version.",
            )
        pretrained = load_pretrained(cell.model, cell.pretrained)
        pretrained.clip.to(execution.device)
        prompts = _prompts(cell.model, cell.pretrained, chosen.classes, chosen.templates, execution.device)
        return Bench(chosen.open(), pretrained, prompts, chosen)

    def network(self) -> Network:
        """A trainable network at zero-shot."""
        return Network.of(self.pretrained, self.prompts)

    def predict(self, cell: Cell, network: Network, images: ImageSet) -> Predictions:
        """Predictions of a network under the cell's reading."""
        return predict(network, images, self.pretrained, self.prompts, cell.reading)

    def provenance(self, execution: Execution) -> dict[str, object]:
        """The provenance of a record made here."""
        return provenance(execution, {**self.task.digests, "weights": self.pretrained.digest})


@lru_cache(maxsize=32)
def _prompts(model: str, pretrained: str, classes: tuple[str, ...], templates: tuple[str, ...], device: str) -> Prompts:
    return Prompts.of(load_pretrained(model, pretrained), classes, templates)


@dataclass(frozen=True)
class Computed:
    """What a finished computation holds before it is written."""

    network: Network
    history: list[Row]
    predictions: Predictions
    metrics: dict[str, float]
    durations: dict[str, float]


@dataclass(frozen=True)
class Outcome:
    """What a request for a cell came to."""

    cell: str
    status: Status
    metrics: Mapping[str, float]


def compute(cell: Cell, bench: Bench, tell: Callable[[str], None] = lambda _: None) -> Computed:
    """Train (unless the method is untrained) and validate. Every worker of a cell calls this."""
    started = time.perf_counter()
    network = bench.network()
    history: list[Row] = []
    latest: list[Predictions] = []

    def after_epoch(epoch: int) -> Row:
        latest[:] = [bench.predict(cell, network, bench.task.val)]
        scores = flatten("val", score(latest[0]))
        tell(f"epoch {epoch + 1}/{cell.training.epochs}  val/top1 {scores['val/top1']:.3f}")
        return {name: scores[name] for name in ("val/top1", "val/loss", "val/context_top1") if name in scores}

    if method_card(cell.method).kind == "trained":
        method = method_card(cell.method).load()(cell, bench.pretrained, bench.prompts)
        history = train(
            cell, network, method, bench.task.train, bench.pretrained.normalise, bench.pretrained.side, after_epoch
        )
    trained = time.perf_counter()
    predictions = latest[0] if latest else bench.predict(cell, network, bench.task.val)
    metrics = {**_last_epoch(history), **flatten("val", score(predictions))}
    if not all(map(math.isfinite, metrics.values())):
        raise Diverged("a metric of the trained model is not finite; a smaller learning rate may help")
    durations = {"train": trained - started, "validate": time.perf_counter() - trained}
    return Computed(network, history, predictions, metrics, durations)


def _last_epoch(history: list[Row]) -> dict[str, float]:
    """Means over the last epoch of what was logged at every step."""
    if not history:
        return {}
    rows = [row for row in history if row["epoch"] == history[-1]["epoch"]]
    names = [name for name in rows[0] if name.startswith("train/")]
    return {name: sum(row[name] for row in rows) / len(rows) for name in names}


def run_cell(
    cell: Cell,
    store: Store,
    execution: Execution,
    unseal: bool = False,
    keep_weights: bool = False,
    tell: Callable[[str], None] = lambda _: None,
    by: Command = "train",
) -> Outcome:
    """Run a cell on one worker unless it is done; ``unseal`` adds test set and suites."""
    check_runnable(cell)
    status: Status = "reused"
    if store.set_aside_stale(cell.id):
        execution.prepare()
        bench = Bench.of(cell, execution)
        write(cell, compute(cell, bench, tell), bench, store, execution, keep_weights or unseal)
        status = "done"
    if unseal:
        unseal_cell(cell, store, execution, by)
    return Outcome(cell.id, status, store.metrics(cell.id))


def check_runnable(cell: Cell) -> None:
    """``Refusal`` for a cell that this code cannot run."""
    if method_card(cell.method).kind == "post-hoc":
        raise Refusal(f"'{cell.method}' works on a finished cell.", "Use: python cli.py interpolate --cell ID")
    check_hyperparameters(cell.method, cell.hyperparameters)
    if cell.precision != "float32":
        raise Refusal(f"Precision '{cell.precision}' is not known.", "Known: float32.")


def write(cell: Cell, computed: Computed, bench: Bench, store: Store, execution: Execution, keep_weights: bool) -> None:
    """Write the record of a computed cell."""
    record = Record(cell, computed.metrics, bench.provenance(execution), computed.durations)
    trained = method_card(cell.method).kind == "trained"
    save = (lambda path: save_weights(computed.network, path)) if keep_weights and trained else None
    store.write(record, computed.history, computed.predictions, save)


def save_weights(network: Network, path: Path) -> None:
    """The trained tensors as safetensors."""
    save_file({k: v.detach().cpu().contiguous() for k, v in network.state_dict().items()}, path)


def load_network(cell: Cell, bench: Bench, store: Store) -> Network:
    """The network of a finished cell: from its weights, at zero-shot, or trained again where no weights were kept."""
    network = bench.network()
    if method_card(cell.method).kind == "untrained":
        return network
    path = store.weights_path(cell.id)
    if not path.is_file():
        again = compute(cell, bench)
        if again.metrics != dict(store.read(cell.id).metrics):
            raise Refusal(
                f"Cell {cell.id} kept no weights, and training it again here gives other numbers than its record.",
                "Run it in a fresh results folder with --unseal.",
            )
        save_weights(again.network, path)
        return again.network
    network.load_state_dict(load_file(path))
    return network


def unseal_cell(cell: Cell, store: Store, execution: Execution, by: Command = "train") -> None:
    """Evaluate a finished cell on the test set and the suites of its task that it was not evaluated on yet."""
    missing = set(_sealed_names(cell)) - store.evaluated(cell.id)
    if not missing:
        return
    execution.prepare()
    bench = Bench.of(cell, execution)
    network = load_network(cell, bench, store)
    _evaluate_sealed(cell, network, bench, store, execution, missing, by)


def _sealed_names(cell: Cell) -> list[str]:
    return ["test", *(f"ood/{suite}" for suite in card(cell.task).suites)]


def _evaluate_sealed(
    cell: Cell, network: Network, bench: Bench, store: Store, execution: Execution, names: set[str], by: Command
) -> None:
    for name, images in bench.card.unseal().sets().items():
        if name in names:
            _add_evaluation(cell, name, bench.predict(cell, network, images), bench, store, execution, by)


def _add_evaluation(
    cell: Cell, name: str, predictions: Predictions, bench: Bench, store: Store, execution: Execution, by: Command
) -> None:
    note = {
        "by": by,
        "unsealed_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "provenance": bench.provenance(execution),
    }
    store.add_evaluation(cell.id, name, flatten(name, score(predictions)), predictions, note)


def run_curve(parent: Cell, store: Store, execution: Execution, by: Command = "interpolate") -> list[Outcome]:
    """The WiSE-FT curve of a finished, unsealed cell: one post-hoc cell per alpha, every one evaluated on every set.

    Alpha 1 is the parent and alpha 0 the pretrained model, so their predictions are taken over, not computed again.
    """
    if method_card(parent.method).kind != "trained":
        raise Refusal(f"Cell {parent.id} is '{parent.method}', which has no trained weights to interpolate.")
    if not store.is_current(parent.id):
        raise Refusal(f"Cell {parent.id} is not done under this version of the code.", "Run it again first.")
    cells = [interpolation(parent, alpha) for alpha in WISE_ALPHAS]
    wanted = set(_sealed_names(parent))
    pending = [c for c in cells if store.set_aside_stale(c.id) or store.evaluated(c.id) < wanted]
    if pending:
        unseal_cell(parent, store, execution, by)
        execution.prepare()
        bench = Bench.of(parent, execution)
        combine = method_card("wise_ft").load()
        start, end = bench.network().state_dict(), load_network(parent, bench, store).state_dict()
        network = bench.network()
        for cell in pending:
            alpha = cell.hyperparameters["alpha"]
            started = time.perf_counter()
            predictions = _end_predictions(parent, alpha, store, execution)
            if predictions is None:
                network.load_state_dict(combine(start, end, alpha))
                predictions = _predict_all(parent, network, bench)
            durations = {"evaluate": time.perf_counter() - started}
            val = predictions["val"]
            store.write(Record(cell, flatten("val", score(val)), bench.provenance(execution), durations), [], val)
            for name in wanted:
                _add_evaluation(cell, name, predictions[name], bench, store, execution, by)
    return [Outcome(c.id, "done" if c in pending else "reused", store.metrics(c.id)) for c in cells]


def _end_predictions(parent: Cell, alpha: float, store: Store, execution: Execution) -> dict[str, Predictions] | None:
    """Predictions at the ends of a curve, read where they are on disk; None between the ends."""
    names = ("val", *_sealed_names(parent))
    if alpha == 1:
        return {name: store.predictions(parent.id, name) for name in names}
    if alpha == 0:
        start = replace(parent, method="zeroshot", hyperparameters={}, seed=0, training=Training())
        if store.is_current(start.id) and store.evaluated(start.id) >= set(names[1:]):
            return {name: store.predictions(start.id, name) for name in names}
        return _zero_shot_predictions(start, execution)
    return None


@lru_cache(maxsize=16)
def _zero_shot_predictions(cell: Cell, execution: Execution) -> dict[str, Predictions]:
    bench = Bench.of(cell, execution)
    return _predict_all(cell, bench.network(), bench)


def _predict_all(cell: Cell, network: Network, bench: Bench) -> dict[str, Predictions]:
    sets = {"val": bench.task.val, **bench.card.unseal().sets()}
    return {name: bench.predict(cell, network, images) for name, images in sets.items()}
