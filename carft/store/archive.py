"""Results as one archive to publish: records, predictions, studies, digests of all, and the licences of the data.

    manifest.json   digest and size of every other file, what made it, the data and their licences
    LICENCES.md     the same licences, to be read
    cells/ studies/ failures/ unsealed.jsonl unsealed/      as in a results folder; weights only when asked for
    report/         the report that was published with it, when one is given

Reading an archive trusts nothing in it: a name that is not of this layout, a link, a file that the manifest does not
know or whose bytes are others is refused, and nothing is left behind. No torch.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import stat
import tempfile
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from carft import NUMERICS, __version__
from carft.core.errors import UserError
from carft.core.files import files_below, new_folder, write_atomic
from carft.data.catalog import DATA_SETS, card
from carft.store.records import Store

SCHEMA = 1
MANIFEST, LICENCES = "manifest.json", "LICENCES.md"
FOLDERS = ("cells", "studies", "failures", "unsealed")
LOG = "unsealed.jsonl"
#: a manifest is a few hundred bytes for each file; no honest one is larger
LARGEST_MANIFEST = 256 * 2**20
CHUNK = 2**20

_NAME = r"[^./\\\x00-\x1f][^/\\\x00-\x1f]{0,199}"  # no folder, none above, nothing hidden
_LAYOUT = re.compile(
    rf"cells/{_NAME}/(evaluations/)?{_NAME}|studies/{_NAME}/study\.json|failures/{_NAME}\.json|"
    rf"report/({_NAME}/)?{_NAME}|unsealed/{_NAME}\.jsonl|{re.escape(LOG)}|{re.escape(LICENCES)}",
)


@dataclass(frozen=True)
class Packed:
    """What an archive holds. fingerprint: sha256 over the digests of all its files; worth writing down elsewhere."""

    files: int
    size: int
    cells: int
    fingerprint: str
    data: tuple[Mapping[str, str], ...]


def pack(store: Store, archive: Path, report: Path | None = None, weights: bool = False) -> Packed:
    """Write a results folder, and a report on it, as one zip archive. The same records give the same bytes."""
    store.require_present()
    if archive.exists():
        raise UserError(f"'{archive}' is there already.", "Name a file that does not exist yet.")
    if not archive.parent.is_dir():
        raise UserError(f"There is no folder '{archive.parent}'.", "Make it, or name another place.")
    sources = _sources(store, report, weights)
    data = _licences(store)
    notes = _licence_page(data).encode()
    listed = {name: _measured(path) for name, path in sources.items()}
    listed[LICENCES] = {"sha256": hashlib.sha256(notes).hexdigest(), "bytes": len(notes)}
    listed = dict(sorted(listed.items()))
    manifest = {"schema": SCHEMA, "carft": __version__, "numerics": NUMERICS, "data": data, "files": listed}

    def write(part: Path) -> None:
        with zipfile.ZipFile(part, "w", zipfile.ZIP_DEFLATED) as stream:
            stream.writestr(_entry(MANIFEST), json.dumps(manifest, indent=0, sort_keys=True))
            stream.writestr(_entry(LICENCES), notes)
            for name, path in sources.items():
                with path.open("rb") as source, stream.open(_entry(name), "w", force_zip64=True) as copy:
                    shutil.copyfileobj(source, copy, CHUNK)

    write_atomic(archive, write)
    return _packed(manifest)


def _sources(store: Store, report: Path | None, weights: bool) -> dict[str, Path]:
    """Name in the archive -> file."""
    names = files_below(store.root, FOLDERS)
    kept = [name for name in names if weights or not name.endswith(".safetensors")]
    found = {name: store.root / name for name in [*kept, *([LOG] if (store.root / LOG).is_file() else [])]}
    if report is not None:
        if not (report / MANIFEST).is_file():
            raise UserError(f"'{report}' holds no report with a manifest.", "Write one: python cli.py report")
        found |= {f"report/{name}": report / name for name in files_below(report, ("",))}
    for name in found:
        if not _LAYOUT.fullmatch(name):
            raise UserError(f"'{found[name]}' is no file of a results folder or report.", "Move it elsewhere.")
    return found


def _measured(path: Path) -> dict[str, Any]:
    with path.open("rb") as stream:
        return {"sha256": hashlib.file_digest(stream, "sha256").hexdigest(), "bytes": path.stat().st_size}


def _entry(name: str) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))
    entry.compress_type = zipfile.ZIP_DEFLATED
    entry.external_attr = (stat.S_IFREG | 0o644) << 16
    return entry


def _licences(store: Store) -> list[dict[str, str]]:
    """Task, version, licence and source of all data that the finished cells rest on, from the cards."""
    found = {}
    for cell in store.ids():
        spec = store.read(cell).cell
        key = (spec.task, spec.data_version)
        if key not in found:
            found[key] = {"task": spec.task, "version": spec.data_version, **_licence(spec.task)}
    return [found[key] for key in sorted(found)]


def _licence(task: str) -> dict[str, str]:
    try:
        known = card(task)
    except UserError:
        return {"licence": "unknown: the task is not in the catalog here", "source": ""}
    sets = [DATA_SETS[name] for name in known.data_sets if name in DATA_SETS]
    if not sets:
        return {"licence": known.licence, "source": known.source}
    licences = dict.fromkeys(f"{part.name}: {part.licence}" for part in sets)
    return {"licence": "; ".join(licences), "source": "; ".join(dict.fromkeys(part.source for part in sets))}


def _licence_page(data: Iterable[Mapping[str, str]]) -> str:
    lines = [
        "# Data and licences",
        "",
        "This archive holds no image. Its predictions name the images of these data.",
        "",
    ]
    lines += [f"- {d['task']} ({d['version']}): {d['licence']}. Source: {d['source'] or 'unknown'}" for d in data]
    return "\n".join(lines) + "\n"


def _packed(manifest: Mapping[str, Any]) -> Packed:
    listed = manifest["files"]
    digests = json.dumps({name: facts["sha256"] for name, facts in listed.items()}, sort_keys=True)
    return Packed(
        files=len(listed),
        size=sum(facts["bytes"] for facts in listed.values()),
        cells=sum(name.startswith("cells/") and name.endswith("/record.json") for name in listed),
        fingerprint=hashlib.sha256(digests.encode()).hexdigest(),
        data=tuple(manifest["data"]),
    )


def unpack(archive: Path, target: Path) -> Packed:
    """Unpack an archive into a new results folder, every byte checked; ``UserError`` for anything that is not right."""
    if not archive.is_file():
        raise UserError(f"There is no archive '{archive}'.", "Write one: python cli.py results export ARCHIVE")
    with new_folder(target) as folder:
        try:
            with zipfile.ZipFile(archive) as stream:
                return _unpacked(stream, folder)
        except UserError as refusal:
            raise UserError(f"'{archive}' is refused: {refusal.message}", refusal.hint) from refusal
        except Exception as error:  # a damaged archive may raise anything, and nothing of it is used
            raise UserError(
                f"'{archive}' cannot be read: {type(error).__name__}: {error}.", "Fetch it again: it is not whole."
            ) from error


@contextmanager
def opened(archive: Path) -> Iterator[Path]:
    """The results folder in an archive, unpacked to a temporary place and checked; it is removed at the end."""
    with tempfile.TemporaryDirectory() as scratch:
        target = Path(scratch) / "results"
        unpack(archive, target)
        yield target


def _unpacked(stream: zipfile.ZipFile, folder: Path) -> Packed:
    entries = {entry.filename: entry for entry in stream.infolist()}
    if len(entries) != len(stream.infolist()):
        raise UserError("it holds two files of one name.")
    if MANIFEST not in entries:
        raise UserError("it has no manifest.", "Was it written by `results export`?")
    manifest = _manifest(stream, entries.pop(MANIFEST))
    listed = manifest["files"]
    for name, entry in entries.items():
        _require_plain(entry)
        if name not in listed:
            raise UserError(f"its manifest does not know '{name}'.")
        if entry.file_size != listed[name]["bytes"]:
            raise UserError(f"'{name}' has {entry.file_size} bytes, its manifest says {listed[name]['bytes']}.")
    if missing := sorted(set(listed) - set(entries)):
        raise UserError(f"{len(missing)} files of its manifest are missing, such as '{missing[0]}'.")
    packed = _packed(manifest)
    if packed.size > shutil.disk_usage(folder).free:
        raise UserError(f"it needs {packed.size:,} bytes, and there is less space.", "Name another place.")
    for name, entry in entries.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with stream.open(entry) as source, path.open("xb") as copy:
            digest = _copy(source, copy.write, listed[name]["bytes"])
        if digest != listed[name]["sha256"]:
            raise UserError(f"'{name}' is not what its manifest says: its digest differs.")
    (folder / "cells").mkdir(exist_ok=True)
    return packed


def _require_plain(entry: zipfile.ZipInfo) -> None:
    """Refuse a name outside the layout (so also ``..``, absolute paths and backslashes), a link and encryption."""
    if not _LAYOUT.fullmatch(entry.filename):
        raise UserError(f"'{entry.filename}' is no file of a results folder.")
    kind = stat.S_IFMT(entry.external_attr >> 16)
    if kind not in (0, stat.S_IFREG):
        raise UserError(f"'{entry.filename}' is a link or no file at all.")
    if entry.flag_bits & 1 or entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise UserError(f"'{entry.filename}' is encrypted or packed in another way than `results export` packs.")


def _manifest(stream: zipfile.ZipFile, entry: zipfile.ZipInfo) -> dict[str, Any]:
    chunks: list[bytes] = []
    with stream.open(entry) as source:
        _copy(source, chunks.append, LARGEST_MANIFEST)
    content = json.loads(b"".join(chunks))
    if content["schema"] != SCHEMA:
        raise UserError(f"its manifest has schema {content['schema']}; this carft reads {SCHEMA}.")
    for name, facts in content["files"].items():
        if not isinstance(facts["sha256"], str) or type(facts["bytes"]) is not int or facts["bytes"] < 0:
            raise UserError(f"its manifest says nothing sound of '{name}'.")
    for part in content["data"]:
        if not all(isinstance(part[name], str) for name in ("task", "version", "licence", "source")):
            raise UserError("its notes on licences cannot be read.")
    return content


def _copy(source: IO[bytes], write: Callable[[bytes], object], most: int) -> str:
    """Copy at most ``most`` bytes, whatever the archive says of its sizes; returns their sha256."""
    digest, copied = hashlib.sha256(), 0
    while chunk := source.read(CHUNK):
        copied += len(chunk)
        if copied > most:
            raise UserError("a file in it is larger than it says.")
        digest.update(chunk)
        write(chunk)
    return digest.hexdigest()
