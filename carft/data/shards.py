"""Shards of images: WebDataset tars, Parquet tables, folders of images; on disk or in an object store. No torch."""

from __future__ import annotations

import hashlib
import io
import json
import re
import tarfile
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import PurePosixPath
from typing import Any

import pyarrow as pa
from PIL import Image, UnidentifiedImageError
from pyarrow.fs import FileSelector, FileSystem, FileType

from carft.core.errors import UserError, unknown
from carft.data.trees import IMAGES

TARS, TABLES = (".tar", ".tar.gz", ".tgz"), (".parquet",)
#: rows of a table in memory at a time
ROWS = 64
#: a path in a tar -> key of its sample and field, as WebDataset splits it: at the first dot of the file name
_MEMBER = re.compile(r"((?:.*/)?[^./][^./]*)\.([^/]+)")
_PART = re.compile(r"[^./\\\x00-\x1f][^/\\\x00-\x1f]{0,199}")  # one path component; neither hidden nor ..


@dataclass(frozen=True)
class Shard:
    """What is read in one go: a tar, a table, or a folder of images."""

    name: str
    """Path relative to the source."""
    files: tuple[str, ...]
    """Paths in the file system: the images of a folder, or one file."""
    size: int
    """Bytes of all files."""


@dataclass(frozen=True)
class Labels:
    """How labels become names of folders."""

    names: tuple[str, ...] = ()
    """Class names by number; none: those that a table holds, else the number with four digits."""
    column: str = "label"
    """Column of a table, or key of a sample's JSON, that holds the label."""
    files: Mapping[str, str] = field(default_factory=dict)
    """File name -> folder, for images that lie in one folder or tar without their classes; empty for others."""

    @property
    def digest(self) -> str:
        """sha256 over all that decides the folders, in hexadecimal digits."""
        decides = [self.names, self.column, *([dict(self.files)] if self.files else [])]
        return hashlib.sha256(json.dumps(decides).encode()).hexdigest()

    def folder_of_file(self, name: str, where: str) -> str:
        """The folder of a file. Raises ``UserError`` for one that is not listed."""
        if name not in self.files:
            raise UserError(f"{where}: the list of classes does not name '{name}'.", "Name the source that it is for.")
        return self.files[name]

    def folder(self, label: object, names: Sequence[str], where: str) -> str:
        """The folder of a class. label: a number, or a name. names: what the shard itself calls its numbers."""
        chosen = self.names or names
        text = str(label).strip()
        if not text.isdecimal():
            if chosen and text not in chosen:
                raise UserError(f"{where}: {unknown('class', text, chosen)}")
            return text
        if not chosen:
            return f"{int(text):04d}"
        if int(text) >= len(chosen):
            raise UserError(f"{where}: there are names for {len(chosen)} classes, but the label is {text}.")
        return chosen[int(text)]


def find_shards(files: FileSystem, source: str) -> list[Shard]:
    """The shards below a path, by name. Raises ``UserError`` when there is none, or tars and tables beside images."""
    if files.get_file_info(source).type == FileType.File:
        found, base = [files.get_file_info(source)], str(PurePosixPath(source).parent)
    else:
        listed = files.get_file_info(FileSelector(source, allow_not_found=True, recursive=True))
        found, base = [info for info in listed if info.type == FileType.File], source.rstrip("/")
    packed, folders = [], defaultdict(list)
    for info in sorted(found, key=lambda info: info.path):
        name = info.path.removeprefix(base).lstrip("/")
        if any(part.startswith(".") for part in name.split("/")):
            continue
        if info.path.endswith(TARS + TABLES):
            packed.append(Shard(name, (info.path,), info.size))
        elif info.path.lower().endswith(IMAGES):
            folders[str(PurePosixPath(name).parent)].append(info)
    if packed and folders:
        raise UserError(f"'{source}' holds shards, such as '{packed[0].name}', and images.", "Name one kind.")
    if not packed and not folders:
        raise UserError(
            f"There is no image and no shard in '{source}'.", "Shards end in .tar, .tar.gz, .tgz, .parquet."
        )
    return packed or [
        Shard(name, tuple(info.path for info in infos), sum(info.size for info in infos))
        for name, infos in sorted(folders.items())
    ]


def images_of(files: FileSystem, shard: Shard, labels: Labels) -> Iterator[tuple[str, bytes]]:
    """Yield (path below the target, content of the image file) of every image of a shard, in its order.

    Raises ``UserError`` for a shard that is cut short, an image without a class, or a path that leads elsewhere.
    """
    read = _from_tar if shard.name.endswith(TARS) else _from_table if shard.name.endswith(TABLES) else _from_folder
    for path, content in read(files, shard, labels):
        if not all(_PART.fullmatch(part) for part in path.split("/")):
            raise UserError(f"'{shard.name}' holds an image with the path '{path}', which is no plain path.")
        yield path, content


def _from_folder(files: FileSystem, shard: Shard, labels: Labels) -> Iterator[tuple[str, bytes]]:
    for path in shard.files:
        name = PurePosixPath(path).name
        folder = labels.folder_of_file(name, f"'{shard.name}'") if labels.files else shard.name
        with files.open_input_stream(path, compression=None) as stream:
            yield f"{folder}/{name}", stream.read()


def _from_tar(files: FileSystem, shard: Shard, labels: Labels) -> Iterator[tuple[str, bytes]]:
    try:
        with (
            files.open_input_stream(shard.files[0], compression=None) as stream,
            tarfile.open(fileobj=stream, mode="r|*") as tar,
        ):
            for key, sample in groupby(_members(tar), key=lambda member: member[0]):
                if image := _image_of(key, {field: content for _, field, content in sample}, labels, shard.name):
                    yield image
    except (tarfile.TarError, EOFError) as error:
        raise UserError(f"'{shard.name}' cannot be read as a tar archive: {error}.", "Copy it again.") from error


def _members(tar: tarfile.TarFile) -> Iterator[tuple[str, str, bytes]]:
    """(Key, field, content) of each file of an archive."""
    for member in tar:
        if member.isfile() and (found := _MEMBER.fullmatch(member.name.removeprefix("./"))):
            content = tar.extractfile(member)
            assert content is not None  # it is a file
            yield found[1], found[2], content.read()


def _image_of(key: str, sample: Mapping[str, bytes], labels: Labels, shard: str) -> tuple[str, bytes] | None:
    """The image of a sample under the folder of its label, or of its own folder in the archive; None: it has none."""
    fields = [field for field in sample if f".{field}".lower().endswith(IMAGES)]
    if not fields:
        return None
    if len(fields) > 1:
        raise UserError(f"'{shard}' holds several images for the sample '{key}': {', '.join(fields)}.")
    where = PurePosixPath(f"{key}.{fields[0]}")
    if labels.files:
        folder = labels.folder_of_file(where.name, f"'{shard}'")
    elif "cls" in sample:
        folder = labels.folder(sample["cls"].decode(), (), f"'{shard}', sample '{key}'")
    elif (note := _note(sample.get("json", b"{}"))) and labels.column in note:
        folder = labels.folder(note[labels.column], (), f"'{shard}', sample '{key}'")
    elif str(where.parent) != ".":
        folder = str(where.parent)
    else:
        raise UserError(
            f"'{shard}' names no class for the sample '{key}', which has {', '.join(sample)}.",
            f"A sample has its class in .cls, in .json as '{labels.column}' (--label), or is in a folder of its class.",
        )
    return f"{folder}/{where.name}", sample[fields[0]]


def _note(content: bytes) -> dict[str, Any]:
    try:
        found = json.loads(content)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _from_table(files: FileSystem, shard: Shard, labels: Labels) -> Iterator[tuple[str, bytes]]:
    from pyarrow import parquet

    try:
        with files.open_input_file(shard.files[0]) as stream:
            table = parquet.ParquetFile(stream)
            image, names = _columns(table.schema_arrow, labels, shard.name)
            number = 0
            for batch in table.iter_batches(ROWS, columns=[image, labels.column]):
                for row in batch.to_pylist():
                    where = f"'{shard.name}', row {number}"
                    folder = labels.folder(row[labels.column], names, where)
                    name, content = _content(row[image], where)
                    stem = PurePosixPath(shard.name.replace("/", "-")).stem
                    yield f"{folder}/{name or f'{stem}-{number:06d}{_ending(content)}'}", content
                    number += 1
    except pa.ArrowInvalid as error:
        raise UserError(f"'{shard.name}' cannot be read as a Parquet table.", "Copy it again.") from error


def _columns(schema: pa.Schema, labels: Labels, shard: str) -> tuple[str, list[str]]:
    """(Column of the images, class names that the table's notes hold)."""
    found = [f.name for f in schema if pa.types.is_struct(f.type) and f.type.get_field_index("bytes") >= 0]
    found += [f.name for f in schema if pa.types.is_binary(f.type) or pa.types.is_large_binary(f.type)]
    if not found:
        raise UserError(f"No column of '{shard}' holds images; it has {', '.join(schema.names)}.")
    if labels.column not in schema.names:
        raise UserError(
            f"'{shard}' has no column '{labels.column}'; it has {', '.join(schema.names)}.",
            "Name the column of the classes: --label COLUMN",
        )
    features = _note((schema.metadata or {}).get(b"huggingface", b"{}")).get("info", {}).get("features", {})
    return found[0], list(features.get(labels.column, {}).get("names", []))


def _content(value: Any, where: str) -> tuple[str, bytes]:
    """(File name, or empty; content) of an image in a table."""
    content, path = (value.get("bytes"), value.get("path")) if isinstance(value, dict) else (value, None)
    if not content:
        raise UserError(f"{where}: the table holds no image there, only a path or nothing.")
    name = PurePosixPath(path or "").name
    return name if name.lower().endswith(IMAGES) else "", content


def _ending(content: bytes) -> str:
    try:
        with Image.open(io.BytesIO(content)) as image:
            return f".{(image.format or 'jpg').lower()}"
    except (UnidentifiedImageError, OSError):
        return ".jpg"  # it is written as it is; reading it names what is wrong
