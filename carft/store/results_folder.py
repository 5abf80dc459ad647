"""A results folder as files: which names it holds, how one is changed, and its journal. No torch.

cells/<id>/                see carft.store.records
predictions/               see carft.store.predictions
failures/<id>.json         see carft.store.failures; removed when the cell is done
studies/<id>/study.json    see carft.store.study_file
journal/                   see carft.store.journal
"""

import errno
import os
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

from carft.catalog.catalog import BUILT_IN, Catalog
from carft.core.errors import UserError, typed_sweep
from carft.core.files import make_folders, write_json
from carft.store.document import Model, read_document
from carft.store.journal import JOINING, JOURNAL, Journal, append_line, own_chain_path, read_journal
from carft.store.predictions import SHARED

#: one component of the name of a file in a results folder; it is neither hidden nor ``..``
FILE_NAME = r"[^./\\\x00-\x1f][^/\\\x00-\x1f]{0,199}"


#: folders that an archive holds, and the names of the files in it
FOLDERS = ("cells", "studies", "failures", JOURNAL, "tasks", "cards", "methods", "suites", SHARED)


#: names of the files of a cell, in its folder
OF_CELL = (
    r"(spec|record)\.json|(history|predictions)\.parquet|model\.safetensors|"
    rf"evaluations/{FILE_NAME}\.(json|parquet)"
)
ARCHIVED = (
    rf"cells/{FILE_NAME}/({OF_CELL})|studies/{FILE_NAME}/study\.json|"
    rf"(failures|tasks|cards|methods|suites)/{FILE_NAME}\.json|{SHARED}/{FILE_NAME}\.parquet|{JOURNAL}/{FILE_NAME}\.jsonl"
)


#: names of the files that other machines may read
RESULT_FILE = re.compile(
    rf"{ARCHIVED}|superseded/{FILE_NAME}/(evaluations/)?{FILE_NAME}|(sweeps|plans)/{FILE_NAME}\.json|"
    rf"logs/{FILE_NAME}\.log|folders\.json"
)


class ResultsFolder:
    """The files of a results folder.

    sentinel: name of a file in the folder without which no cell is written, since a network share that is unmounted
    leaves an empty mount point. catalog: knows the tasks and methods of the cells; what the folder itself holds of them
    is added by :func:`carft.store.stored_catalog.stored_catalog`.
    """

    largest_part: int = 0
    """Bytes from which on a chain of the journal goes on in another file; 0 for one file. A subclass that sends whole
    files sets it."""

    def __init__(self, root: str | Path, sentinel: str | None = None, catalog: Catalog = BUILT_IN) -> None:
        self.root, self.sentinel, self.catalog = Path(root), sentinel, catalog
        self.name = str(self.root)
        """The path or URL that messages show."""
        self.address = os.path.realpath(self.root)
        """The absolute path or URL, for other processes of a sweep."""
        self.left_out: dict[Path, str] = {}
        """File that could not be read and was left out -> what is wrong and what to do."""

    @contextmanager
    def changing(self, prefix: str) -> Iterator[None]:
        """Context of every change of a file or folder below the root. A subclass uploads the change at its end."""
        yield

    def refresh(self, *prefixes: str) -> None:
        """Make files that other machines wrote below these prefixes readable. A subclass downloads them."""

    def sync(self, cells: Sequence[str]) -> None:
        """Called before work on cells begins. A subclass uploads and downloads their files."""

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
            raise UserError(f"There are no results in '{self.name}'.", f"Run a sweep first: {typed_sweep(self.name)}")

    def remove(self, name: str) -> None:
        """Remove a file or folder below the root, if it is there."""
        path = self.root / name
        with self.changing(name):
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)

    def note(self, kind: str, **facts: Any) -> str:
        """Append a line to this process's chain of the journal, and return its digest.

        facts: other fields of :class:`carft.store.journal.Line`.
        """
        chain = own_chain_path(self.root / JOURNAL, self.largest_part)
        if kind in JOINING or not own_chain_path(self.root / JOURNAL).is_file():
            self.refresh(JOURNAL)
        self.make(chain.parent)
        with self.changing(f"{JOURNAL}/{chain.name}"):
            return append_line(chain, kind, facts)

    def readable(self, path: Path, model: type[Model]) -> Model | None:
        """The content of a JSON file; None where it cannot be read, which :attr:`left_out` then tells."""
        try:
            return read_document(path, model)
        except UserError as error:
            self.left_out[path] = str(error)
            return None

    def journal(self) -> Journal:
        """Everything that the journal holds."""
        return read_journal(self.root / JOURNAL)

    def put(self, name: str, content: Mapping[str, Any]) -> None:
        """Write a JSON file below the root, such as ``failures/CELL.json``, or replace it."""
        path = self.root / name
        with self.changing(name):
            self.make(path.parent)
            write_json(path, content)

    def make(self, folder: Path) -> None:
        """Create a folder below the root; ``FileNotFoundError`` when the sentinel file is gone."""
        if self.sentinel is not None and not (self.root / self.sentinel).is_file():
            raise FileNotFoundError(errno.ENOENT, "The results folder is no longer there", str(self.root))
        make_folders(folder)
