"""The results folder: what a finished cell leaves on disk, written atomically, in plain open formats. No torch.

    cells/<id>/spec.json  record.json  history.parquet  predictions.parquet  model.safetensors
    cells/<id>/evaluations/<set>.json + .parquet       added by unsealing; record.json is never rewritten
    failures/<id>.json                                 why a cell did not finish; removed when it does
    unsealed.jsonl                                     one line per opening of a sealed set; in an object store, which
                                                       appends nothing, unsealed/<cell>-<writer>.jsonl

A cell is done if and only if its record.json is there and whole: it is written last, by rename.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from carft import NUMERICS, SCHEMA_VERSION
from carft.core.errors import UserError, corrupt, unknown
from carft.core.files import finite_numbers, plain_name, read_json, write_atomic, write_json
from carft.core.metrics import Predictions, ood_means
from carft.spec.cell import Cell
from carft.store.predictions import read_parquet, read_predictions, write_predictions


@dataclass(frozen=True)
class Record:
    """A finished cell: its specification, flat metrics, provenance and durations in seconds.

    finished_at: when its record was written, UTC; empty in records of versions that did not write it.
    """

    cell: Cell
    metrics: Mapping[str, float]
    provenance: Mapping[str, Any]
    durations: Mapping[str, float]
    finished_at: str = field(default="", compare=False)

    @property
    def id(self) -> str:
        return self.cell.id

    @property
    def numerics(self) -> int:
        return int(self.provenance["numerics"])


@dataclass(frozen=True)
class Outcomes:
    """What a cell said of each image of a set: groups, labels, predictions, known and recognised contexts, all (N,)."""

    groups: np.ndarray
    labels: np.ndarray
    predicted: np.ndarray
    contexts: np.ndarray
    predicted_contexts: np.ndarray


class Store:
    """A results folder. mark: a file of it without which no cell is written: a share that went away leaves an empty
    place, or none, which must not be filled instead."""

    def __init__(self, root: str | Path, mark: str | None = None) -> None:
        self.root, self.mark = Path(root), mark

    def folder(self, cell: str) -> Path:
        """The folder of a cell, which may not exist yet; ``UserError`` for an id that is no plain name."""
        return self.root / "cells" / plain_name(cell)

    @property
    def name(self) -> str:
        """What the folder is called wherever it is shown."""
        return str(self.root)

    @property
    def address(self) -> str:
        """What leads to the folder from any process of a sweep."""
        return str(self.root.resolve())

    def with_sentinel(self, mark: str) -> Store:
        """The same folder, bearing a mark."""
        return Store(self.root, mark)

    @contextmanager
    def changing(self, place: str) -> Iterator[None]:
        """Around every change of a file or folder below the root, for what has to be told of it."""
        yield

    def refresh(self, *places: str) -> None:
        """Make sure that what others wrote below these places can be read: in a folder that all see, it can."""

    def sync(self, cells: Sequence[str]) -> None:
        """To be called before work on cells begins."""

    def require_writable(self) -> None:
        """Create the folder; ``UserError`` when it cannot be written."""
        probe = self.root / f".probe-{uuid4().hex}"
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            probe.write_text("")
            probe.unlink()
        except OSError as error:
            raise UserError(
                f"The results folder '{self.name}' cannot be written: {error.strerror}.",
                "Give --results a folder you may write to.",
            ) from error

    def require_present(self) -> None:
        """``UserError`` when there is no results folder to read."""
        if not (self.root / "cells").is_dir():
            raise UserError(
                f"There are no results in '{self.name}'.", "Run a sweep first: python cli.py sweep downstream"
            )

    def is_done(self, cell: str) -> bool:
        """Whether the cell's record is there."""
        return (self.folder(cell) / "record.json").is_file()

    def is_current(self, cell: str) -> bool:
        """Whether the cell is done under the current NUMERICS; ``UserError`` when its record is torn."""
        return self.is_done(cell) and self.read(cell).numerics == NUMERICS

    def ids(self) -> list[str]:
        """Ids of all finished cells, sorted."""
        return sorted(path.parent.name for path in self.root.glob("cells/*/record.json"))

    def finished(self) -> int:
        """How many cells are finished."""
        return len(self.ids())

    def resolve(self, prefix: str) -> str:
        """The finished cell whose id starts with ``prefix``; ``UserError`` when none or several do."""
        found = [name for name in self.ids() if name.startswith(prefix)]
        if len(found) == 1:
            return found[0]
        if found:
            raise UserError(f"Several cells start with '{prefix}'.", f"They are: {', '.join(found[:5])}.")
        if stopped := [name for name in self.stopped_cells() if name.startswith(prefix)]:
            raise UserError(
                f"Cell {stopped[0]} was stopped early and has no record.",
                "`train` with its task, method and hyperparameters trains it to the end.",
            )
        raise unknown("finished cell", prefix, self.ids())

    def read(self, cell: str) -> Record:
        """The record of a finished cell; ``UserError`` when it is torn."""
        raw = read_json(self.folder(cell) / "record.json")
        _require_schema(cell, raw)
        try:
            spec = read_json(self.folder(cell) / "spec.json")
            numbers = finite_numbers(raw["metrics"]), finite_numbers(raw["durations"])
            when = str(raw.get("finished_at", ""))
            record = Record(Cell.from_dict(spec), numbers[0], dict(raw["provenance"]), numbers[1], when)
            found = (record.id, record.numerics)
        except UserError as error:
            raise error if "torn" in error.message else corrupt(self.folder(cell), error.message) from error
        except (KeyError, TypeError, AttributeError, ValueError, ArithmeticError) as error:
            raise corrupt(self.folder(cell), f"{type(error).__name__}: {error}") from error
        if found[0] != cell:
            raise corrupt(self.folder(cell), f"its specification belongs to cell {record.id}")
        return record

    def records(self) -> Iterator[Record]:
        """All finished cells of the current NUMERICS, by id."""
        for cell in self.ids():
            record = self.read(cell)
            if record.numerics == NUMERICS:
                yield record

    def metrics(self, cell: str) -> dict[str, float]:
        """The record's metrics, those of its unsealed evaluations, and the means over suites."""
        metrics = dict(self.read(cell).metrics)
        for evaluation in self.evaluations(cell).values():
            metrics.update(evaluation["metrics"])
        return {**metrics, **ood_means(metrics)}

    def evaluations(self, cell: str) -> dict[str, dict[str, Any]]:
        """Set -> what stands beside its predictions, for the sets the cell was unsealed on."""
        found = {}
        for path in sorted(self.folder(cell).glob("evaluations/*.json")):
            content = read_json(path)
            try:
                found[str(content["set"])] = {**content, "metrics": finite_numbers(content["metrics"])}
            except (KeyError, TypeError, AttributeError, ValueError) as error:
                raise corrupt(path, f"{type(error).__name__}: {error}") from error
        return found

    def history(self, cell: str) -> dict[str, np.ndarray]:
        """Training history as float columns, NaN where a step has no value; empty for a cell that was not trained."""
        path = self.folder(cell) / "history.parquet"
        if not path.is_file():
            return {}
        table = read_parquet(path)
        return {name: np.asarray(table[name].cast(pa.float64()).to_numpy()) for name in table.column_names}

    def predictions(self, cell: str, name: str) -> Predictions:
        """Predictions of a cell on ``val`` or on an unsealed set."""
        return read_predictions(self.predictions_path(cell, name))

    def outcomes(self, cell: str, name: str) -> Outcomes:
        """Predictions without their logits: all that counting needs."""
        columns = ["group", "label", "pred", "context", "context_pred"]
        table = read_parquet(self.predictions_path(cell, name), columns)
        group, *numbers = (table[column] for column in columns)
        return Outcomes(np.asarray(group.to_pylist()), *(column.to_numpy() for column in numbers))

    def evaluated(self, cell: str) -> set[str]:
        """Names of the sets the cell was unsealed on."""
        return set(self.evaluations(cell))

    def is_unsealed(self, cell: str) -> bool:
        """Whether the cell was unsealed on any set; nothing is read."""
        folder = self.folder(cell) / "evaluations"
        return folder.is_dir() and any(path.suffix == ".json" for path in folder.iterdir())

    def weights_path(self, cell: str) -> Path:
        """Where the cell's weights are, if kept."""
        return self.folder(cell) / "model.safetensors"

    def find_weights(self, cell: str) -> Path:
        """The same, for whoever is about to read them."""
        return self.weights_path(cell)

    def kept_weights(self) -> dict[str, int]:
        """Name below the root -> bytes of all weights that are kept, of superseded cells too."""
        paths = [path for name in ("cells", "superseded") for path in self.root.glob(f"{name}/*/model.safetensors")]
        return {path.relative_to(self.root).as_posix(): path.lstat().st_size for path in paths}

    def remove(self, name: str) -> None:
        """Remove a file or folder below the root, if it is there."""
        path = self.root / name
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)

    def write(
        self,
        record: Record,
        history: Sequence[Mapping[str, float]],
        predictions: Predictions,
        save_weights: Callable[[Path], None] | None = None,
    ) -> None:
        """Write a finished cell. A cell that is already done is left as it is."""
        if self.is_current(record.id):
            return
        with self.changing(f"cells/{record.id}"):
            self._write(record, history, predictions, save_weights)
        self.forget_failure(record.id)

    def _write(
        self,
        record: Record,
        history: Sequence[Mapping[str, float]],
        predictions: Predictions,
        save_weights: Callable[[Path], None] | None,
    ) -> None:
        folder = self.folder(record.id)
        self.make(folder)
        write_json(folder / "spec.json", record.cell.as_dict())
        if history:
            names = dict.fromkeys(name for row in history for name in row)
            columns = {name: [row.get(name) for row in history] for name in names}
            write_atomic(folder / "history.parquet", lambda path: pq.write_table(pa.table(columns), path))
        write_atomic(folder / "predictions.parquet", lambda path: write_predictions(predictions, path))
        if save_weights is not None:
            write_atomic(self.weights_path(record.id), save_weights)
        content = {
            "schema_version": SCHEMA_VERSION,
            "cell": record.id,
            "metrics": dict(record.metrics),
            "provenance": dict(record.provenance),
            "durations": dict(record.durations),
            "finished_at": record.finished_at or utc_now(),
        }
        write_json(folder / "record.json", content)
        self._stopped_path(record.id).unlink(missing_ok=True)

    def add_evaluation(
        self, cell: str, name: str, metrics: Mapping[str, float], predictions: Predictions, note: Mapping[str, Any]
    ) -> None:
        """Add what unsealing found on one set: a line in the log first, then the predictions, the json last.

        ``note`` may say in ``by`` which kind of command opened the set.
        """
        path = self.predictions_path(cell, name)
        path.parent.mkdir(exist_ok=True)
        self._log_unsealing(cell, name, str(note.get("by", "unknown")))
        with self.changing(f"cells/{cell}"):
            write_atomic(path, lambda part: write_predictions(predictions, part))
            write_json(path.with_suffix(".json"), {"set": name, "metrics": dict(metrics), **note})

    def _log_unsealing(self, cell: str, name: str, by: str) -> None:
        """Append one line to the log in one write, so that workers that append at once lose nothing."""
        opened = {"when": utc_now(), "cell": cell, "set": name, "by": by, "numerics": NUMERICS}
        line = json.dumps(opened, sort_keys=True) + "\n"
        place = self._unsealing_log(cell)
        with self.changing(place):
            log = os.open(self.root / place, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
            try:
                os.write(log, line.encode())
                os.fsync(log)
            finally:
                os.close(log)

    def _unsealing_log(self, cell: str) -> str:
        """The file that holds the openings of a cell from here."""
        return "unsealed.jsonl"

    def unsealings(self) -> list[dict[str, Any]]:
        """Every unsealing that was logged, in order: when, cell, set, by which kind of command, and the NUMERICS of the
        record, 0 where the line does not say it."""
        whole, parts = self.root / "unsealed.jsonl", sorted(self.root.glob("unsealed/*.jsonl"))
        lines = _unsealings_in(whole) if whole.is_file() else []
        return lines + sorted((line for part in parts for line in _unsealings_in(part)), key=lambda line: line["when"])

    def set_aside_stale(self, cell: str) -> bool:
        """Whether the cell still has to run; a record of another NUMERICS is moved to superseded/ first."""
        if self.is_current(cell):
            return False
        if self.is_done(cell):
            self._supersede(cell)
        return True

    def _supersede(self, cell: str) -> None:
        target = self.root / "superseded" / f"{cell}-{uuid4().hex[:8]}"
        target.parent.mkdir(exist_ok=True)
        shutil.move(self.folder(cell), target)

    def _stopped_path(self, cell: str) -> Path:
        return self.folder(cell) / "stopped.json"

    def write_stopped(self, cell: Cell, content: Mapping[str, Any]) -> None:
        """Write that a search cell's training was given up; see :mod:`carft.store.early_stopping`."""
        folder = self.folder(cell.id)
        with self.changing(f"cells/{cell.id}"):
            self.make(folder)
            write_json(folder / "spec.json", cell.as_dict())
            write_json(self._stopped_path(cell.id), {**content, "finished_at": utc_now()})
        self.forget_failure(cell.id)

    def stopped(self, cell: str) -> dict[str, Any] | None:
        """What stands of a cell that was given up: curve, numerics, provenance. None when it was not."""
        path = self._stopped_path(cell)
        if not path.is_file():
            return None
        content = read_json(path)
        try:
            curve = list(finite_numbers({str(epoch): value for epoch, value in enumerate(content["curve"])}).values())
            return {**content, "curve": curve, "numerics": int(content["numerics"])}
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise corrupt(path, f"{type(error).__name__}: {error}") from error

    def stopped_cells(self) -> list[str]:
        """Ids of the cells that were given up and have no record, sorted."""
        return sorted(p.parent.name for p in self.root.glob("cells/*/stopped.json") if not self.is_done(p.parent.name))

    def failure_path(self, cell: str) -> Path:
        """Where the reason of a failed cell stands."""
        return self.root / "failures" / f"{plain_name(cell)}.json"

    def write_failure(self, cell: Cell, reason: str, details: str, facts: Mapping[str, Any] | None = None) -> None:
        """Keep why a cell did not finish; facts: what else :class:`carft.store.failures.Failure` says of it."""
        path = self.failure_path(cell.id)
        content = {"cell": cell.id, "spec": cell.as_dict(), "reason": reason, "details": details, **(facts or {})}
        with self.changing(f"failures/{cell.id}.json"):
            self.make(path.parent)
            write_json(path, content)

    def failed(self) -> list[str]:
        """Ids of the cells with a failure record, sorted."""
        return sorted(path.stem for path in self.root.glob("failures/*.json"))

    def failure(self, cell: str) -> Any:
        """What a cell's failure record holds; None when there is none."""
        path = self.failure_path(cell)
        return read_json(path) if path.is_file() else None

    def forget_failure(self, cell: str) -> None:
        """Remove a cell's failure record, once what failed is done."""
        if (path := self.failure_path(cell)).is_file():
            with self.changing(f"failures/{cell}.json"):
                path.unlink(missing_ok=True)

    def write_study(self, study: str, content: Mapping[str, Any]) -> None:
        """Write studies/<id>/study.json."""
        path = self.root / "studies" / study / "study.json"
        with self.changing(f"studies/{study}/study.json"):
            self.make(path.parent)
            write_json(path, content)

    def study(self, study: str) -> dict[str, Any] | None:
        """The content of a study; None when it is not there."""
        path = self.root / "studies" / study / "study.json"
        return read_json(path) if path.is_file() else None

    def studies(self) -> list[dict[str, Any]]:
        """All studies, by id."""
        return [read_json(path) for path in sorted(self.root.glob("studies/*/study.json"))]

    def make(self, folder: Path) -> None:
        """Create a folder of this one; ``FileNotFoundError`` when the mark is gone."""
        if self.mark is not None and not (self.root / self.mark).is_file():
            raise FileNotFoundError(errno.ENOENT, "The results folder went away", str(self.root))
        folder.mkdir(parents=True, exist_ok=True)

    def predictions_path(self, cell: str, name: str) -> Path:
        """Where the predictions of a cell on ``val`` or an unsealed set are."""
        if name == "val":
            return self.folder(cell) / "predictions.parquet"
        return self.folder(cell) / "evaluations" / f"{name.replace('/', '-')}.parquet"


def utc_now() -> str:
    """The time as records and logs write it."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def _unsealings_in(path: Path) -> list[dict[str, Any]]:
    try:
        lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        named = [{name: str(line[name]) for name in ("when", "cell", "set", "by")} for line in lines]
        return [{**found, "numerics": int(line.get("numerics", 0))} for found, line in zip(named, lines, strict=True)]
    except (UnicodeDecodeError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(
            f"The log '{path}' cannot be read: {error}.",
            "Mend or remove the broken line; the lines before and after it still count.",
        ) from error


def _require_schema(cell: str, raw: Any) -> None:
    """Refuse a whole record of another schema; what has no version at all is torn."""
    version = raw.get("schema_version") if isinstance(raw, dict) else None
    if version is not None and version != SCHEMA_VERSION:
        raise UserError(
            f"The record of cell {cell} has schema version {version}; this carft reads version {SCHEMA_VERSION}.",
            "Read the folder with the carft that wrote it (provenance names its version), or run the sweep again.",
        )
