"""Run one cell: open the task, train, evaluate, write the record. Unseal it."""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from carft import NUMERICS
from carft.core.array_cache import ArrayCache, key_of
from carft.core.errors import Diverged, UserError
from carft.core.files import write_atomic
from carft.core.heartbeat import heartbeat
from carft.core.metrics import Predictions, flatten, score
from carft.data.card import Card
from carft.data.catalog import card
from carft.data.task import ImageSet, Task
from carft.methods.ft import Fitting, Row
from carft.models.clip import Pretrained, load_pretrained
from carft.models.network import Network, Prompts
from carft.spec.cell import Cell, ClassHead
from carft.spec.registry import check_hyperparameters, method_card, not_trainable, require_parts_allowed
from carft.store.early_stopping import NO_THRESHOLDS, Thresholds, curve_of, pruned_after, write_pruned
from carft.store.records import Record, Store, utc_now
from carft.training.checkpoint import NONE, Checkpoints
from carft.training.distributed import WorkerRank
from carft.training.evaluate import embed, predict_each
from carft.training.execution import Execution, provenance
from carft.training.feature_cache import FeatureCache
from carft.training.loop import train

FLOAT = np.dtype("float32")
Status = Literal["done", "reused", "stopped"]
Command = Literal["train", "sweep", "interpolate", "soup"]  # what opens a sealed set, as the log of unsealings says it


@dataclass(frozen=True)
class CellContext:
    """Everything a cell needs besides itself: the task, the pretrained model and the frozen text side."""

    task: Task
    pretrained: Pretrained
    prompts: Prompts
    card: Card
    execution: Execution

    @staticmethod
    def of(cell: Cell, execution: Execution) -> CellContext:
        """Open the task and load the model; both are kept for the next cell of this process."""
        chosen = card(cell.task)
        if chosen.version != cell.data_version:
            raise UserError(
                f"Cell {cell.id} was specified for data version {cell.data_version} of {cell.task}; "
                f"here it is {chosen.version}.",
                "Run the sweep again with this version.",
            )
        chosen.require_present(execution)  # before weights are fetched from afar
        pretrained = load_pretrained(cell.model, cell.pretrained)
        pretrained.clip.to(execution.device)
        heartbeat()
        bank = cell.reading.context_templates
        prompts = _prompts(cell.model, cell.pretrained, cell.task, bank, execution.device, execution.feature_cache)
        heartbeat()
        opened = chosen.open(execution)
        heartbeat()
        return CellContext(opened, pretrained, prompts, chosen, execution)

    def network(self, kind: ClassHead = "trained", seed: int = 0) -> Network:
        """A trainable network where training starts: at zero-shot, unless its head is random."""
        return Network.of(self.pretrained, self.prompts, kind, seed)

    def predict(self, cell: Cell, network: Network, images: ImageSet) -> Predictions:
        """Predictions of a network at the cell's precision."""
        return self.predict_each(cell, [network], images)[0]

    def predict_each(self, cell: Cell, networks: Sequence[Network], images: ImageSet) -> list[Predictions]:
        """Predictions of several networks, every image decoded once."""
        return predict_each(networks, images, self.pretrained, self.prompts, cell.precision)

    def sealed(self) -> Mapping[str, ImageSet]:
        """Test set and suites, by set name; opened by unsealing alone."""
        return self.card.unseal(self.execution).sets()

    def provenance(self) -> dict[str, object]:
        """The provenance of a record made here."""
        return provenance(self.execution, {**self.task.digests, "weights": self.pretrained.digest})


@lru_cache(maxsize=32)
def _prompts(model: str, pretrained: str, task: str, bank: str, device: str, folder: str | None) -> Prompts:
    """The frozen text side, computed once and kept in ``folder`` for the other processes and sweeps of this machine."""
    loaded, chosen = load_pretrained(model, pretrained), card(task)
    if folder is None:
        return Prompts.of(loaded, chosen, bank)
    decided_by = {
        "weights": loaded.digest,
        "model": model,
        "prompts": [chosen.classes, chosen.templates, chosen.bank(bank), chosen.contexts],
        "computed": [device, torch.__version__, NUMERICS],
    }
    sizes = [len(chosen.classes), len(chosen.bank(bank)), len(chosen.contexts or chosen.bank(bank))]

    def make() -> np.ndarray:
        made = Prompts.of(loaded, chosen, bank)
        return torch.cat([made.classes, made.contexts, made.known]).cpu().numpy()

    kept = ArrayCache(Path(folder)).get(f"heads-{key_of(decided_by)}", sum(sizes), loaded.width, FLOAT, make)
    return Prompts(*torch.from_numpy(np.array(kept)).to(device).split(sizes))


@dataclass(frozen=True)
class Computed:
    """What a finished computation holds before it is written."""

    network: Network
    history: list[Row]
    predictions: Predictions
    metrics: dict[str, float]
    durations: dict[str, float]
    stopped: bool = False  # whether training was given up at a rung


@dataclass(frozen=True)
class CellResult:
    """What a request for a cell came to."""

    cell: str
    status: Status
    metrics: Mapping[str, float]


def compute(
    cell: Cell,
    bench: CellContext,
    checkpoints: Checkpoints = NONE,
    tell: Callable[[str], None] = lambda _: None,
    limits: Thresholds = NO_THRESHOLDS,
) -> Computed:
    """Train (unless the method is untrained) and validate. Every worker of a cell calls this.

    limits: of early stopping, epoch -> the val/top1 to be reached.
    """
    started = time.perf_counter()
    network = bench.network(cell.reading.class_head, cell.seed)
    history: list[Row] = []
    latest: list[Predictions] = []

    def after_epoch(epoch: int) -> Row:
        method.before_evaluation(network)
        latest[:] = [bench.predict(cell, network, bench.task.val)]
        scores = flatten("val", score(latest[0]))
        tell(f"epoch {epoch + 1}/{cell.training.epochs}  val/top1 {scores['val/top1']:.3f}")
        return {name: scores[name] for name in ("val/top1", "val/loss", "val/context_top1") if name in scores}

    if method_card(cell.method).kind == "trained":
        method = method_card(cell.method).load()(cell, bench.pretrained, bench.prompts)
        frozen, images = frozen_of(cell, bench), bench.task.train

        def descend() -> list[Row]:
            setting = (bench.pretrained, frozen, bench.execution, checkpoints)
            return train(cell, network, method, images, *setting, after_epoch, limits)

        def features(of: ImageSet) -> torch.Tensor:
            return embed(network, of, bench.pretrained, cell.precision)

        history = method.fit(Fitting(network, images, features, descend))
    trained = time.perf_counter()
    predictions = latest[0] if latest else bench.predict(cell, network, bench.task.val)
    metrics = {**_last_epoch(history), **flatten("val", score(predictions))}
    if not all(map(math.isfinite, metrics.values())):
        raise Diverged("a metric of the trained model is not finite; a smaller learning rate may help")
    durations = {"train": trained - started, "validate": time.perf_counter() - trained}
    stopped = pruned_after(curve_of(history), limits) is not None
    return Computed(network, history, predictions, metrics, durations, stopped)


def frozen_of(cell: Cell, bench: CellContext) -> FeatureCache:
    """The pretrained model's features of the cell's training images, shared by all cells that see the same crops."""
    execution, shard = bench.execution, WorkerRank.current()
    if execution.feature_cache is None:
        return FeatureCache(bench.pretrained, cell.precision)
    decided_by = {
        "weights": bench.pretrained.digest,
        "model": cell.model,
        "task": [cell.task, cell.data_version, hashlib.sha256("\n".join(bench.task.train.names).encode()).hexdigest()],
        "augmentation": [cell.seed, cell.training.crop, bench.pretrained.side],
        "batch": [cell.training.batch_size, shard.rank, shard.workers, execution.accumulation],
        "computed": [cell.precision, execution.feature_dtype, execution.device, torch.__version__, NUMERICS],
    }
    store = ArrayCache(Path(execution.feature_cache))
    return FeatureCache(bench.pretrained, cell.precision, store, key_of(decided_by), execution.feature_dtype)


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
    limits: Thresholds = NO_THRESHOLDS,
) -> CellResult:
    """Run a cell on one worker unless it is done; ``unseal`` adds test set and suites.

    A cell that falls behind ``limits`` is given up: it gets no record but a note of its end.
    """
    check_runnable(cell)
    check_execution(cell, execution)
    status: Status = "reused"
    if store.set_aside_stale(cell.id):
        if unseal:
            card(cell.task).require_sealed(execution)
        execution.prepare()
        bench = CellContext.of(cell, execution)
        checkpoints = store_checkpoints(cell, store, execution)
        computed = compute(cell, bench, checkpoints, tell, limits)
        write(cell, computed, bench, store, keep_weights or unseal)
        checkpoints.remove()
        if computed.stopped:
            return CellResult(cell.id, "stopped", {"val/top1": computed.metrics["val/top1"]})
        status = "done"
    if unseal:
        unseal_cell(cell, store, execution, by)
    return CellResult(cell.id, status, store.metrics(cell.id))


def check_runnable(cell: Cell) -> None:
    """``UserError`` for a cell that this code cannot run."""
    if method_card(cell.method).kind == "post-hoc":
        raise not_trainable(cell.method)
    check_hyperparameters(cell.method, cell.hyperparameters)


def check_execution(cell: Cell, execution: Execution) -> None:
    """``UserError`` when the cell cannot be computed in this way: some losses need the whole batch in one piece."""
    require_parts_allowed(cell.method, execution.workers, execution.accumulation)


def store_checkpoints(cell: Cell, store: Store, execution: Execution) -> Checkpoints:
    """The checkpoints of a cell, beside the records."""
    path = store.root / "checkpoints" / f"{cell.id}.safetensors"
    return Checkpoints(path, execution.checkpoint_every, store.make)


def write(cell: Cell, computed: Computed, bench: CellContext, store: Store, keep_weights: bool) -> None:
    """Write the record of a computed cell, or the note of its end."""
    if computed.stopped:
        return write_pruned(store, cell, curve_of(computed.history), bench.provenance())
    record = Record(cell, computed.metrics, bench.provenance(), computed.durations)
    trained = method_card(cell.method).kind == "trained"
    save = (lambda path: save_weights(computed.network, path)) if keep_weights and trained else None
    store.write(record, computed.history, computed.predictions, save)


def save_weights(network: Network, path: Path) -> None:
    """The trained tensors as safetensors."""
    save_file({k: v.detach().cpu().contiguous() for k, v in network.state_dict().items()}, path)


def load_network(cell: Cell, bench: CellContext, store: Store) -> Network:
    """The network of a finished cell: from its weights, at zero-shot, or trained again where no weights were kept."""
    network = bench.network(cell.reading.class_head, cell.seed)
    if method_card(cell.method).kind == "untrained":
        return network
    path = store.find_weights(cell.id)
    if not path.is_file():
        again = compute(cell, bench, store_checkpoints(cell, store, bench.execution))
        if again.metrics != dict(store.read(cell.id).metrics):
            raise UserError(
                f"Cell {cell.id} kept no weights, and training it again here gives other numbers than its record.",
                "Run it in a fresh results folder with --unseal.",
            )
        write_atomic(path, lambda part: save_weights(again.network, part))
        return again.network
    try:
        network.load_state_dict(load_file(path))
    except (SafetensorError, RuntimeError) as error:
        raise UserError(
            f"The weights '{path}' are torn: {str(error).splitlines()[0]}", "Remove the file; the cell trains again."
        ) from error
    return network


def unseal_cell(cell: Cell, store: Store, execution: Execution, by: Command = "train") -> None:
    """Evaluate a finished cell on the test set and the suites of its task that it was not evaluated on yet."""
    missing = set(card(cell.task).sets) - store.evaluated(cell.id)
    if not missing:
        return
    execution.prepare()
    bench = CellContext.of(cell, execution)
    network = load_network(cell, bench, store)
    _evaluate_sealed(cell, network, bench, store, missing, by)


def _evaluate_sealed(
    cell: Cell, network: Network, bench: CellContext, store: Store, names: set[str], by: Command
) -> None:
    with writing() as later:  # while one set is written, the next is computed
        for name, images in bench.sealed().items():
            if name in names:
                later(add_evaluation, cell, name, bench.predict(cell, network, images), bench, store, by)


@contextmanager
def writing(threads: int = 1) -> Iterator[Callable[..., Future]]:
    """Gives a function that calls another in a thread, in order where there is one thread; at the end of the block all
    have ended, and the first error of theirs is raised."""
    with ThreadPoolExecutor(threads) as pool:
        calls: list[Future] = []

        def later(function: Callable[..., object], *arguments: object) -> Future:
            calls.append(pool.submit(function, *arguments))
            return calls[-1]

        yield later
        for call in calls:
            call.result()


def add_evaluation(
    cell: Cell, name: str, predictions: Predictions, bench: CellContext, store: Store, by: Command
) -> None:
    """Write what unsealing found on one set."""
    note = {"by": by, "unsealed_at": utc_now(), "provenance": bench.provenance()}
    store.add_evaluation(cell.id, name, flatten(name, score(predictions)), predictions, note)
