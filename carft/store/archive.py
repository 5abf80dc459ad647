"""Export of a results folder to one zip archive, and import of such an archive. No torch.

    manifest.json       digest and size of every other file, version of carft
    documents.jsonl     the JSON files of the results folder, one line each, which zip compresses far better than alone
    cells/ predictions/ journal/     other files as in a results folder; weights are optional

The JSON files are those of cells, studies and failures, and what a results folder holds of a catalog
(:mod:`carft.store.stored_catalog`), without paths.

Import trusts nothing in an archive. It refuses a name outside this layout, and a file that the manifest does not list
or whose bytes differ from it, and writes plain files only. Numbers of files and bytes are checked before anything is
unpacked. A refused archive leaves nothing behind.
"""

import hashlib
import json
import re
import shutil
import stat
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
from pydantic import Field

from carft import NUMERICS, __version__
from carft.core.errors import UserError, typed
from carft.core.files import file_digest, files_below, new_folder, write_atomic, write_json
from carft.store.document import Document, parse_document
from carft.store.failures import failures
from carft.store.predictions import SHARED, write_shared
from carft.store.records import Store
from carft.store.results_folder import ARCHIVED, FOLDERS

#: version of the format
SCHEMA = 2
MANIFEST, JOINED = "manifest.json", "documents.jsonl"
#: bytes unpacked above which a person is asked
LARGE = 10**9
#: most files, and bytes of the manifest; the published audit has 1,200, and 1,800 bytes for each cell
ENTRIES, LARGEST_MANIFEST = 1_000_000, 192 * 2**20

#: names in an archive
_LAYOUT = re.compile(rf"{ARCHIVED}|{re.escape(JOINED)}")


class ArchivedFile(Document):
    """Digest and size of one file."""

    sha256: str
    """Digest, in hexadecimal digits."""
    size: int = Field(alias="bytes", ge=0)
    """Size."""


class ArchiveManifest(Document):
    """``manifest.json`` of an archive."""

    version: int = Field(alias="schema", ge=SCHEMA, le=SCHEMA)
    """Version of the format."""
    carft: str
    """Version of carft that wrote the archive."""
    numerics: int
    files: dict[str, ArchivedFile]
    """Name in the archive -> digest and size, without the manifest."""

    def summary(self, folder: Path) -> dict[str, Any]:
        """Numbers of files, of bytes unpacked and of the cells in a results folder; a fingerprint.

        The fingerprint is the sha256 over the digests of all files, in hexadecimal digits.
        """
        digests = json.dumps({name: file.sha256 for name, file in self.files.items()}, sort_keys=True)
        return {
            "files": len(self.files),
            "size": sum(file.size for file in self.files.values()),
            "cells": len(Store(folder).ids()),
            "fingerprint": hashlib.sha256(digests.encode()).hexdigest(),
        }


def pack(store: Store, archive: Path, weights: bool = False, compact: bool = False) -> dict[str, Any]:
    """Write a results folder to a new zip archive, and return its :meth:`Manifest.summary`.

    The same records give the same bytes. weights: whether the archive holds the weights that were kept. compact:
    whether predictions are stored without logits, and histories of search cells not at all. Accuracy and context
    recognition can be made again from such an archive, losses and calibration cannot. Failed cells are published as of
    :meth:`carft.store.failures.Failure.published`.
    """
    if archive.exists():
        raise UserError(f"'{archive}' is there already.", "Name a file that does not exist yet.")
    sources = _sources(store, weights)
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        for failure in failures(store):
            published = scratch / f"{failure.cell}.json"
            write_json(published, failure.published().content())
            sources[f"failures/{published.name}"] = published
        if compact:
            sources = _without_logits(store, sources, scratch / SHARED)
        joined = _joined(sources, scratch / JOINED)
        manifest = write_atomic(archive, lambda part: _write(part, joined))
    return manifest.summary(store.root)


def _write(part: Path, sources: Mapping[str, Path]) -> ArchiveManifest:
    """Write an archive and return its manifest. sources: name in the archive -> file."""
    files = {}
    with zipfile.ZipFile(part, "w", zipfile.ZIP_DEFLATED) as stream:
        for name, path in sorted(sources.items()):
            with path.open("rb") as source, stream.open(_entry(name), "w", force_zip64=True) as target:
                shutil.copyfileobj(source, target)
            files[name] = ArchivedFile(sha256=file_digest(path), size=path.stat().st_size)
        manifest = ArchiveManifest(version=SCHEMA, carft=__version__, numerics=NUMERICS, files=files)
        stream.writestr(_entry(MANIFEST), json.dumps(manifest.content(), indent=0, sort_keys=True))
    return manifest


def _sources(store: Store, weights: bool) -> dict[str, Path]:
    """Name in the archive -> file. Failures are left out, files that do not belong in a results folder, and weights
    unless ``weights``."""
    sources = {}
    for name in files_below(store.root, FOLDERS):
        is_left_out = name.startswith("failures/") or (name.endswith(".safetensors") and not weights)
        if not is_left_out and re.fullmatch(ARCHIVED, name):
            sources[name] = store.root / name
    return sources


class JoinedDocument(Document):
    """``documents.jsonl``: the JSON files of an archive, one a line."""

    name: str
    """Name of the file, such as ``cells/ID/record.json``."""
    text: str
    """Its text."""


def _joined(sources: dict[str, Path], joined: Path) -> dict[str, Path]:
    """The files of an archive, those in JSON joined to one, which is written to ``joined``."""
    others = {}
    with joined.open("w", encoding="utf-8", newline="\n") as stream:
        for name, path in sorted(sources.items()):
            if not name.endswith(".json"):
                others[name] = path
                continue
            try:
                text = path.read_bytes().decode()
            except UnicodeDecodeError as error:
                raise UserError(f"'{path}' is not UTF-8 text.", "Move it elsewhere, or run its cell again.") from error
            stream.write(json.dumps({"name": name, "text": text}) + "\n")
    others[JOINED] = joined
    return others


def _without_logits(store: Store, sources: dict[str, Path], folder: Path) -> dict[str, Path]:
    """The files with predictions in the shared form, which are written to ``folder``, in place of each cell's own."""
    trials, confirm = set[str](), set[str]()
    for study in store.studies():
        trials.update(study.trial_cells)
        confirm.update(study.confirm)
    trials -= confirm
    kept = {}
    for name, path in sources.items():
        is_history = name.endswith("/history.parquet") and path.parent.name not in trials
        if is_history or path.suffix != ".parquet":
            kept[name] = path

    def tables() -> Iterator[tuple[str, str, pa.Table]]:
        for cell in store.ids():
            for name in ("val", *sorted(store.evaluated(cell))):
                yield cell, name, store.prediction_table(cell, name)

    for path in write_shared(tables(), folder):
        kept[f"{SHARED}/{path.name}"] = path
    return kept


def _entry(name: str) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(name)  # of 1980, whenever it is written
    entry.compress_type = zipfile.ZIP_DEFLATED
    entry.external_attr = (stat.S_IFREG | 0o644) << 16
    return entry


def unpack(archive: Path, target: Path, accept: Callable[[int], bool] = lambda size: False) -> dict[str, Any]:
    """Unpack an archive into a new results folder, and return its :meth:`Manifest.summary`. Every byte is checked.

    accept: whether more than :data:`LARGE` bytes, which it gets, may be written. Raises ``UserError`` if the archive is
    not one that :func:`pack` wrote, or too large. Nothing of it is left behind.
    """
    if not archive.is_file():
        raise UserError(f"There is no archive '{archive}'.", f"Write one: {typed('results', 'export', str(archive))}")
    with new_folder(target) as folder:
        try:
            with zipfile.ZipFile(archive) as stream:
                return _unpacked(stream, folder, accept)
        except UserError as refusal:
            raise UserError(f"'{archive}' is refused: {refusal.message}", refusal.hint) from refusal
        except Exception as error:  # zipfile raises many kinds for a damaged archive
            words = f"'{archive}' cannot be read: {type(error).__name__}: {error}."
            raise UserError(words, "Download it again: it is incomplete.") from error


def _unpacked(stream: zipfile.ZipFile, folder: Path, accept: Callable[[int], bool]) -> dict[str, Any]:
    """Unpack into an empty folder. Of an entry no more bytes are read than its header in the zip says."""
    if MANIFEST not in stream.namelist():
        raise UserError(f"it holds no {MANIFEST}.", "Name an archive that `results export` wrote.")
    _require_at_most(ENTRIES, len(stream.infolist()), "files")
    _require_at_most(LARGEST_MANIFEST, stream.getinfo(MANIFEST).file_size, f"bytes of {MANIFEST}")
    manifest = parse_document(stream.read(MANIFEST), ArchiveManifest, Path(MANIFEST))
    listed = sorted((name, facts.size) for name, facts in manifest.files.items())
    sizes = sorted((entry.filename, entry.file_size) for entry in stream.infolist() if entry.filename != MANIFEST)
    if sizes != listed:
        other = min({*sizes} ^ {*listed}, default=("two files of one name", 0))
        raise UserError(f"its files, with their sizes, are not those of its manifest: {other[0]}.")
    needed = 0
    for name, size in listed:
        if not _LAYOUT.fullmatch(name):  # also '..', absolute paths and backslashes
            raise UserError(f"'{name}' is no file of a results folder.")
        needed += size
        if name == JOINED:
            needed += size  # it is removed after its content is written once more
    if needed > LARGE and not accept(needed):
        raise UserError(f"it unpacks to {needed / 1e9:.1f} GB.", "Import it all the same: results import with --yes.")
    if needed > shutil.disk_usage(folder).free:
        raise UserError(f"it needs {needed:,} bytes, and there is less space.", "Name a folder on another disk.")
    for name, facts in manifest.files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with stream.open(name) as source, path.open("xb") as target:
            shutil.copyfileobj(source, target)
        if file_digest(path) != facts.sha256:
            raise UserError(f"'{name}' is not what its manifest says: its digest differs.")
    _split_joined(folder)
    (folder / "cells").mkdir(exist_ok=True)
    return manifest.summary(folder)


def _require_at_most(most: int, count: int, what: str) -> None:
    """Raise ``UserError`` for more than ``most`` of something. what: its plural, such as ``files``."""
    if count > most:
        raise UserError(f"it has {count:,} {what}, and at most {most:,} are read.")


def _split_joined(folder: Path) -> None:
    """Write the joined JSON files of an archive to files of their own."""
    joined = folder / JOINED
    if not joined.is_file():
        return
    with joined.open("rb") as stream:
        for line in stream:
            document = parse_document(line, JoinedDocument, Path(JOINED))
            if not (document.name.endswith(".json") and re.fullmatch(ARCHIVED, document.name)):
                raise UserError(f"'{document.name}' in {JOINED} is no JSON file of a results folder.")
            path = folder / document.name
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("xb") as copy:
                copy.write(document.text.encode())
    joined.unlink()
