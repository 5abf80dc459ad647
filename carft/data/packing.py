"""A packed copy of a data set: its images in a few large files, in place of one file each. No torch.

The bytes of images are kept, so that a training on the copy, and the digests of its data, are those of the files.
"""

import hashlib
import io
import re
import shutil
import tarfile
import zlib
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from carft.core.errors import UserError
from carft.core.files import file_digest, read_plain, write_atomic
from carft.data.index import Index, batch_of, note_of, read_index, write_index
from carft.data.indexing import in_threads, indexed, statuses
from carft.data.sets import MARKER, DataSet
from carft.data.shards import FILE, FORMAT, SCHEMA, FileStatus, key_of, shards_in

#: bytes of images in a shard, about
SHARD_BYTES = 2**30
LABEL = ".cls"
#: field of a shard's global header that holds the digest of its rows
ROWS = "comment"
#: names of shards
SHARDS = re.compile(r"[A-Za-z0-9_-]+-\d{6}\.tar")


@dataclass(frozen=True)
class PackedCopy:
    """What a packed copy holds."""

    folder: Path
    images: int
    shards: int
    bytes: int
    """Of the images."""


class Member(NamedTuple):
    """The bytes of an image in a shard."""

    offset: int
    size: int
    crc32: int


def pack(
    data_set: DataSet,
    root: Path,
    to: Path,
    log: Callable[[str], None] = lambda _: None,
    shard_bytes: int = SHARD_BYTES,
) -> PackedCopy:
    """Write a packed copy of a data set under ``to``, where it is a data set as under ``root``.

    Shards that are whole and were made of the same images, with the same labels, are kept: a copy that was interrupted
    goes on. The index is written last; shards that it does not name are then removed. log: gets a line for each shard
    that is written. shard_bytes: of images in a shard, about. All images are decoded once, to note those that cannot.

    Raises ``UserError`` for a set that is missing, packed already or changes meanwhile, and where it cannot be written.
    """
    base = root / data_set.folder
    own = Path(data_set.folder).is_absolute()  # your own data
    folder = to / (base.name if own else data_set.folder)
    if shards_in(base) is not None:
        raise UserError(f"'{base}' is packed already.", f"Copy the folder to '{folder}'.")
    found = indexed(data_set, root, decoded=True)
    images = Index.of([*found.splits.values()])
    _require_room_for_it(folder, base, images, data_set.reading)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        files = _copy_files(data_set, base, folder)
        states = statuses(images.paths)
        size = sum(size for size, _ in states)
        if data_set.packed:  # a few large files already
            return PackedCopy(folder, len(images), 0, size)
        parts = _parts(found.splits, states, shard_bytes)
        members: list[Member] = []
        for name, rows in parts.items():
            members += _packed_part(folder / name, rows, base, images, states[rows.start : rows.stop], log)
        note = {
            "format": FORMAT,
            "source": str(base.resolve()),
            "reading": data_set.reading,
            "splits": {split: len(part) for split, part in found.splits.items()},
            "digest": found.digest,
            "facts": found.facts,
            "shards": {name: (folder / name).stat().st_size for name in parts},
            "files": files,
        }
        columns = _columns(base, images, found.unreadable, parts, members)
        write_index(folder / FILE, batch_of(columns, SCHEMA, note))
        _remove_former_shards(folder, {*parts, *files})
    except OSError as error:
        raise UserError(
            f"'{folder}' could not be packed: {error.strerror or error}.",
            "Make room, or name another folder with --to. The same command goes on.",
        ) from error
    return PackedCopy(folder, len(images), len(parts), size)


def _require_room_for_it(folder: Path, base: Path, images: Index, reading: list[str]) -> None:
    """Raise ``UserError`` for a folder that holds the images as files, or a packed copy of other data."""
    hint = "Name another folder with --to, or remove it."
    if (folder / images.paths[0].relative_to(base)).exists():
        raise UserError(f"'{folder}' holds the images as files.", hint)
    before = read_index(folder / FILE)
    if before is not None:
        note = note_of(before)
        if (note["source"], note["reading"]) != (str(base.resolve()), reading):
            raise UserError(f"'{folder}' holds a packed copy of other data, from '{note['source']}'.", hint)


def _remove_former_shards(folder: Path, kept: Collection[str]) -> None:
    for path in folder.glob("*.tar"):
        if SHARDS.fullmatch(path.name) and path.name not in kept:
            path.unlink()


def _copy_files(data_set: DataSet, base: Path, folder: Path) -> dict[str, str]:
    """Copy the files of a data set that are no images; return name -> sha256."""
    copied = {}
    for name in sorted({*data_set.needs, *data_set.digests, data_set.table, MARKER}):
        source, target = base / name, folder / name
        if source.is_file():
            target.parent.mkdir(parents=True, exist_ok=True)
            write_atomic(target, partial(shutil.copyfile, source))
            copied[name] = file_digest(target)
    return copied


def _parts(splits: Mapping[str, Index], states: Sequence[FileStatus], shard_bytes: int) -> dict[str, range]:
    """Return shard -> its rows. The images of a shard are of one split, as other programs want them."""
    parts: dict[str, range] = {}
    first = 0
    known = set[str]()
    for split, index in splits.items():
        name = re.sub(r"[^A-Za-z0-9_-]", "-", split)
        if name in known:
            name += f"-{hashlib.sha256(split.encode()).hexdigest()[:8]}"
        known.add(name)
        end = first + len(index)
        begin, held, number = first, 0, 0
        for row in range(first, end):
            held += states[row][0]
            if held >= shard_bytes or row + 1 == end:
                parts[f"{name}-{number:06d}.tar"] = range(begin, row + 1)
                begin, held, number = row + 1, 0, number + 1
        first = end
    return parts


def _packed_part(
    shard: Path, rows: range, base: Path, images: Index, states: Sequence[FileStatus], log: Callable[[str], None]
) -> list[Member]:
    """Return the images of a shard, which is written unless it holds them already. states: of the images."""
    part, sizes = images.rows(rows), [size for size, _ in states]
    digest = _digest_of(rows.start, part, base, states)
    if shard.is_file() and _digest_in(shard) == digest:
        members = members_of(shard)
        if [member.size for member in members] == sizes:
            return members
    write_atomic(shard, partial(_write_shard, rows=rows, images=part, digest=digest))
    members = members_of(shard)
    if [member.size for member in members] != sizes:
        raise UserError(
            "Images changed while they were packed.", "Run the command again once nothing is written there."
        )
    log(f"{shard}: {len(rows):,} images")
    return members


def _digest_of(first: int, images: Index, base: Path, states: Sequence[FileStatus]) -> str:
    """Return a digest of the names, labels, sizes and modification times of images, and of their first row."""
    digest = hashlib.sha256(f"{first}\n".encode())
    for path, label, (size, when) in zip(images.paths, images.labels, states, strict=True):
        digest.update(f"{path.relative_to(base).as_posix()}\t{label}\t{size}\t{when}\n".encode())
    return digest.hexdigest()


def _digest_in(shard: Path) -> str:
    """Return the digest of the rows that a shard was made of; empty where its header cannot be read."""
    try:
        with tarfile.open(shard) as opened:
            return opened.pax_headers.get(ROWS, "")
    except (tarfile.TarError, EOFError):
        return ""


def _write_shard(path: Path, rows: range, images: Index, digest: str) -> None:
    contents = in_threads(read_plain, images.paths)
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT, pax_headers={ROWS: digest}) as shard:
        for row, image, label, content in zip(rows, images.paths, images.labels, contents, strict=True):
            for ending, held in ((image.suffix.lower(), content), (LABEL, str(label).encode())):
                member = tarfile.TarInfo(f"{row:09d}{ending}")
                member.size = len(held)
                shard.addfile(member, io.BytesIO(held))


def members_of(shard: Path) -> list[Member]:
    """Return the images of a shard, in order; those before the place where it is damaged."""
    members = []
    try:
        with tarfile.open(shard) as opened:
            for member in opened:
                content = opened.extractfile(member)
                if content is not None and not member.name.endswith(LABEL):
                    members.append(Member(member.offset_data, member.size, zlib.crc32(content.read())))
    except (tarfile.TarError, EOFError):
        pass
    return members


def _columns(
    base: Path, images: Index, broken: Mapping[Path, str], parts: Mapping[str, range], members: Sequence[Member]
) -> dict[str, Any]:
    names = [path.relative_to(base).as_posix() for path in images.paths]
    keys = np.array([key_of(name) for name in names])
    order = np.argsort(keys, kind="stable")
    shards = []
    for number, rows in enumerate(parts.values()):
        shards += [number] * len(rows)
    return {
        "path": names,
        "label": images.labels,
        "group": images.groups,
        "unreadable": [broken.get(path) for path in images.paths],
        "shard": shards,
        "offset": [member.offset for member in members],
        "size": [member.size for member in members],
        "crc32": [member.crc32 for member in members],
        "key": keys[order],
        "row": order.astype(np.int32),
    }
