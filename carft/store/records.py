"""What a finished cell leaves in a results folder, written atomically, in open formats. No torch.

    cells/<id>/spec.json  record.json  history.parquet  predictions.parquet  model.safetensors
    cells/<id>/evaluations/<set>.json + .parquet       added by unsealing; record.json is never rewritten

A cell is done if and only if its record.json is there and valid: it is written last, by rename.
"""

import errno
import hashlib
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from carft import NUMERICS, SCHEMA_VERSION
from carft.config.cell import Cell
from carft.config.registry import METHODS
from carft.core.errors import CorruptFile, UserError, unknown
from carft.core.failure_kinds import reason_of
from carft.core.files import (
    file_digest,
    json_bytes,
    make_folders,
    require_plain_name,
    sync_folder,
    write_atomic,
    write_json,
)
from carft.core.metrics import Predictions, ood_means
from carft.core.source import code_digest
from carft.store.document import read_document, utc_now
from carft.store.journal import Line
from carft.store.predictions import (
    SHARED,
    predictions_of,
    read_numbers,
    read_predictions,
    require_footer,
    shared_table,
    write_predictions,
)
from carft.store.record_files import Evaluation, Record, RecordFile, Specification, shared_provenance
from carft.store.results_folder import ResultsFolder
from carft.store.study_file import StudyFile


class Store(ResultsFolder):
    """A results folder with its cells and studies."""

    def folder(self, cell: str) -> Path:
        """The folder of a cell, which may not exist yet; ``UserError`` for an id that is no plain name."""
        return self.root.joinpath("cells", require_plain_name(cell))

    def is_done(self, cell: str) -> bool:
        """Whether the cell's record is there."""
        return (self.folder(cell) / "record.json").is_file()

    def is_current(self, cell: str) -> bool:
        """Whether the cell is done under the current NUMERICS; ``UserError`` when its record is corrupt."""
        return self.is_done(cell) and self.read(cell).numerics == NUMERICS

    def require_current(self, cell: str) -> None:
        """Raise ``UserError`` unless :meth:`is_current`."""
        if not self.is_current(cell):
            raise UserError(f"Cell {cell} is not done under NUMERICS {NUMERICS}.", "Run it first.")

    def ids(self) -> list[str]:
        """Ids of all finished cells, sorted."""
        return sorted(path.parent.name for path in self.root.glob("cells/*/record.json"))

    def finished(self) -> int:
        """How many cells are finished."""
        return len(self.ids())

    def resolve(self, prefix: str) -> str:
        """The finished cell whose id starts with ``prefix``; ``UserError`` when none or several do."""
        matches = [name for name in self.ids() if name.startswith(prefix)]
        if len(matches) > 1:
            raise UserError(f"Several cells start with '{prefix}'.", f"They are: {', '.join(matches[:5])}.")
        if not matches:
            raise unknown("finished cell", prefix, self.ids())
        return matches[0]

    def read(self, cell: str) -> Record:
        """The record of a finished cell; ``CorruptFile``, or ``UserError`` for another schema version."""
        folder = self.folder(cell)
        file = read_document(folder / "record.json", RecordFile)
        spec = read_document(folder / "spec.json", Specification)
        try:
            specified = Cell.from_dict(spec)
            own = specified.id
        except (UserError, TypeError, AttributeError, ValueError, ArithmeticError) as error:
            raise CorruptFile(folder, f"its specification is not one: {reason_of(error).rstrip('.')}") from error
        if own != cell:
            raise CorruptFile(folder, f"its specification belongs to cell {own}")
        method = METHODS.get(specified.method)
        if method is not None and method.kind == "post-hoc":
            if not specified.parents:
                raise CorruptFile(folder, "its specification has no parents")
            for rule in method.space:
                if rule not in specified.hyperparameters:
                    raise CorruptFile(folder, f"its specification has no {rule}")
        provenance = shared_provenance(file.provenance.model_dump_json(by_alias=True, exclude_unset=True))
        return Record(specified, file.metrics, provenance, file.durations, file.finished_at, file.journal)

    def records(self) -> Iterator[Record]:
        """All finished cells of the current NUMERICS, by id."""
        for cell in self.ids():
            record = self.read(cell)
            if record.numerics == NUMERICS:
                yield record

    def metrics(self, cell: str) -> dict[str, float]:
        """The record's metrics, those of its unsealed evaluations, and the means over suites."""
        return all_metrics(self.read(cell), self.evaluations(cell))

    def evaluations(self, cell: str) -> dict[str, Evaluation]:
        """The evaluations of a cell on held-out sets, by set."""
        evaluations = {}
        for path in self.evaluation_paths(cell):
            evaluation = read_document(path, Evaluation)
            evaluations[evaluation.set] = evaluation
        return evaluations

    def evaluation_paths(self, cell: str) -> list[Path]:
        """Paths of the evaluations of a cell, sorted."""
        folder = self.folder(cell) / "evaluations"
        if not folder.is_dir():  # as of most cells; to search it takes ten times as long
            return []
        return sorted(folder.glob("*.json"))

    def history(self, cell: str) -> dict[str, np.ndarray]:
        """Training history as float columns, NaN where a step has no value; empty for a cell that was not trained."""
        path = self.folder(cell) / "history.parquet"
        if not path.is_file():
            return {}
        table = read_numbers(path)
        return {name: np.asarray(table[name].cast(pa.float64()).to_numpy()) for name in table.column_names}

    def predictions(self, cell: str, name: str) -> Predictions:
        """Predictions of a cell on ``val`` or on an unsealed set; ``UserError`` where they have no logits."""
        table = self.prediction_table(cell, name)
        if not self.has_logits(cell, name):
            words = f"The predictions of cell {cell} on {name} hold no logits: they come from a compact archive."
            raise UserError(words, "Run the cell again; `ls cells ID` has its command.")
        return predictions_of(table, self.predictions_path(cell, name))

    def prediction_table(self, cell: str, name: str) -> pa.Table:
        """Predictions of a cell on a set as a table, from the cell's own file or from a shared one without logits."""
        path = self.predictions_path(cell, name)
        if not path.is_file():
            shared = shared_table(self.root / SHARED, cell, name)
            if shared is not None:
                return shared
        return read_predictions(path)  # a file that is missing is named

    def has_logits(self, cell: str, name: str) -> bool:
        """Whether the predictions of a cell on a set hold logits."""
        return self.predictions_path(cell, name).is_file()

    def evaluated(self, cell: str) -> set[str]:
        """Names of the sets the cell was unsealed on."""
        return set(self.evaluations(cell))

    def weights_path(self, cell: str) -> Path:
        """Path of the cell's weights, whether or not they were kept."""
        return self.folder(cell) / "model.safetensors"

    def find_weights(self, cell: str) -> Path:
        """Path of the cell's weights, for reading. A subclass downloads the weights."""
        return self.weights_path(cell)

    def kept_weights(self) -> dict[str, int]:
        """Path below the root -> bytes, of all weights that were kept, those of superseded cells included."""
        paths = chain(self.root.glob("cells/*/model.safetensors"), self.root.glob("superseded/*/model.safetensors"))
        return {path.relative_to(self.root).as_posix(): path.lstat().st_size for path in paths}

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
        folder = self.folder(record.id)
        with self.changing(f"cells/{record.id}"):
            self.make(folder)
            write_json(folder / "spec.json", record.cell.record_form())
            if history:
                columns = {}
                for name in dict.fromkeys(chain.from_iterable(history)):
                    columns[name] = [row.get(name) for row in history]
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
                "finished_at": utc_now(),
                "journal": True,
            }
            files = {}
            for name in ("spec.json", "history.parquet", "predictions.parquet"):
                if (folder / name).is_file():
                    files[name] = file_digest(folder / name)
            files["record.json"] = hashlib.sha256(json_bytes(content)).hexdigest()
            what = {"cell": record.id, "task": record.cell.task, "method": record.cell.method, "code": code_digest()}
            self.note("finished", **what, files=files, numerics=record.numerics)
            write_json(folder / "record.json", content)
        self.forget_failure(record.id)

    def add_evaluation(
        self, cell: str, name: str, metrics: Mapping[str, float], predictions: Predictions, note: Mapping[str, Any]
    ) -> None:
        """Write an evaluation on a held-out set: a line of the journal first, then predictions, the JSON file last.

        metrics: their names begin with that of the set. note: other fields of :class:`Evaluation`.
        """
        path = self.predictions_path(cell, name)
        make_folders(path.parent)
        content, facts = {"set": name, "metrics": dict(metrics), **note}, path.with_suffix(".json")

        def write(part: Path) -> None:
            write_predictions(predictions, part)
            files = {
                f"evaluations/{facts.name}": hashlib.sha256(json_bytes(content)).hexdigest(),
                f"evaluations/{path.name}": file_digest(part),
            }
            what = {"cell": cell, "set": name, "by": note.get("by", "unknown"), "numerics": NUMERICS}
            self.note("opened", **what, files=files)

        with self.changing(f"cells/{cell}"):
            write_atomic(path, write)
            write_json(facts, content)

    def unsealings(self) -> list[Line]:
        """Every access to a held-out set, in the order of the journal."""
        return self.journal().of("opened")

    def set_aside_stale(self, cell: str, log: Callable[[str], None] = lambda words: None) -> bool:
        """Move a cell of another NUMERICS, or a damaged one, to superseded/. Returns whether the cell has to run.

        log: receives a sentence on a damaged cell. Raises ``UserError`` for one that was evaluated on held-out sets.
        """
        if not self.is_done(cell):
            return True
        try:
            record, _ = self.read_whole(cell)
            if record.numerics == NUMERICS:
                return False
        except UserError as error:
            self.require_sealed(cell, error)
            log(f"{error.message} The cell is made again.")
        self._supersede(cell)
        return True

    def read_whole(self, cell: str) -> tuple[Record, dict[str, Evaluation]]:
        """The record of a finished cell, and its evaluations by set.

        Raises ``CorruptFile`` where one of its files is damaged; of predictions and history only size and footer are
        read. Raises ``UserError`` for another schema version.
        """
        record, evaluations = self.read(cell), self.evaluations(cell)
        history, is_shared = self.folder(cell) / "history.parquet", (self.root / SHARED).is_dir()
        if history.is_file():
            require_footer(history)
        for name in ("val", *evaluations):
            if self.has_logits(cell, name) or not is_shared:
                require_footer(self.predictions_path(cell, name))
        return record, evaluations

    def has_weights(self, cell: str) -> bool:
        """Whether the cell's weights are there, and their file is as long as its header says."""
        from safetensors import SafetensorError, safe_open  # which an installation that only reads does not have

        path = self.weights_path(cell)
        try:
            if path.is_file():
                with safe_open(path, framework="numpy"):
                    return True
        except SafetensorError:
            pass
        return False

    def require_sealed(self, cell: str, damage: UserError) -> None:
        """Raise ``UserError`` for a damaged cell that was evaluated on held-out sets, or of which a disk fails.

        damage: why it cannot be used.
        """
        if getattr(damage.__cause__, "errno", None) not in (None, errno.ENOENT):
            raise damage
        folder, opened = self.folder(cell), {line.cell for line in self.unsealings()}
        if cell in opened or any(folder.glob("evaluations/*")):
            raise UserError(
                f"{damage.message} The cell was evaluated on held-out sets, so no sweep makes it again unasked.",
                f"Put a copy of the file back. Without one, move '{folder}' into '{self.root / 'superseded'}', and run "
                "the same command: the cell is made again, and the journal tells both openings.",
            )

    def _supersede(self, cell: str) -> None:
        target = self.root / "superseded" / f"{cell}-{uuid4().hex[:8]}"
        make_folders(target.parent)
        with self.changing(f"superseded/{target.name}"), self.changing(f"cells/{cell}"):
            shutil.move(self.folder(cell), target)
        sync_folder(target.parent)
        sync_folder(self.root / "cells")

    def checkpoint_path(self, cell: str) -> Path:
        """Path of the checkpoint of a cell that trains; see :mod:`carft.training.checkpoint`."""
        return self.root / "checkpoints" / f"{require_plain_name(cell)}.safetensors"

    def failure_path(self, cell: str) -> Path:
        """Path of a cell's failure record; see :mod:`carft.store.failures`."""
        return self.root / "failures" / f"{require_plain_name(cell)}.json"

    def failed(self) -> list[str]:
        """Ids of the cells with a failure record, sorted."""
        return sorted(path.stem for path in self.root.glob("failures/*.json"))

    def forget_failure(self, cell: str) -> None:
        """Remove a cell's failure record."""
        if self.failure_path(cell).is_file():
            self.remove(f"failures/{cell}.json")

    def write_study(self, study: str, content: StudyFile) -> None:
        """Write studies/<id>/study.json. The journal notes a new winner and new confirm cells."""
        self.replace_study(study, self.study(study), content)

    def replace_study(self, study: str, before: StudyFile | None, content: StudyFile) -> None:
        """As :meth:`write_study`. before: what is on disk; None for no file and for a corrupt one."""
        selected = (content.winner, content.confirm)
        if content.winner and (before is None or selected != (before.winner, before.confirm)):
            what = {"study": study, "task": content.task, "method": content.method}
            self.note("selected", **what, winner=content.winner, confirm=content.confirm)
        self.put(f"studies/{study}/study.json", content.content())

    def study(self, study: str) -> StudyFile | None:
        """A study; None when it is not there, ``CorruptFile`` when it is corrupt."""
        path = self.study_path(study)
        return read_document(path, StudyFile) if path.is_file() else None

    def study_path(self, study: str) -> Path:
        """Path of the file of a study."""
        return self.root / "studies" / study / "study.json"

    def study_names(self) -> list[str]:
        """Names of the folders of all studies, sorted."""
        return sorted(path.parent.name for path in self.root.glob("studies/*/study.json"))

    def studies(self) -> list[StudyFile]:
        """All studies, by id; ``CorruptFile`` when one is corrupt."""
        return [read_document(self.study_path(name), StudyFile) for name in self.study_names()]

    def readable_studies(self) -> list[StudyFile]:
        """All studies that can be read, by id; :attr:`left_out` names the others."""
        studies = []
        for name in self.study_names():
            study = self.readable(self.study_path(name), StudyFile)
            if study is not None:
                studies.append(study)
        return studies

    def predictions_path(self, cell: str, name: str) -> Path:
        """Path of the predictions of a cell on ``val`` or a held-out set."""
        if name == "val":
            return self.folder(cell) / "predictions.parquet"
        return self.folder(cell) / "evaluations" / f"{name.replace('/', '-')}.parquet"


def all_metrics(record: Record, evaluations: Mapping[str, Evaluation]) -> dict[str, float]:
    """The metrics of a record, those of its unsealed evaluations, and the means over suites."""
    metrics = dict(record.metrics)
    for evaluation in evaluations.values():
        metrics.update(evaluation.metrics)
    return {**metrics, **ood_means(metrics)}
