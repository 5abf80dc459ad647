"""Shards of images, on a share or in an object store, unpacked to a local disk."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from carft.core.errors import UserError
from carft_cli.console import counted, err, out, print_json, typed_again
from carft_cli.declare import DATA, option, takes
from carft_cli.options import AsJson, local_folder

if TYPE_CHECKING:
    from pyarrow.fs import FileSystem

    from carft.data.shards import Labels


@dataclass(frozen=True)
class StageSettings:
    """What to unpack, where to, and how classes are named."""

    source: Annotated[
        str, typer.Argument(help="A folder, a file or s3://BUCKET/PREFIX: tars, Parquet tables, or class folders.")
    ]
    to: Annotated[Path, option(DATA, "The folder to write.", "--to", parser=local_folder, metavar="PATH")]
    classes: Annotated[
        str | None,
        option(DATA, "File of class names, one a line by number, or: imagenet, imagenet-r, ...", "--classes"),
    ] = None
    label: Annotated[str, option(DATA, "Column, or key of a sample's JSON, that holds the class.", "--label")] = "label"
    check: Annotated[bool, option(DATA, "Also read every staged image and compare its digest.", "--check")] = False
    as_json: AsJson = False


@takes(StageSettings)
def data_stage(settings: StageSettings) -> None:
    """Unpack shards of images to class folders on this disk. Runs only what is missing.

    Shards are WebDataset tars, Parquet image tables, or folders of images.

    Exit code: 0 when all is there, 1 when --check finds a changed image, 2 when refused.

    Example: `python cli.py data stage s3://bucket/imagenet/train --to data/imagenet/train --classes imagenet`
    """
    from carft.data.shards import find_shards
    from carft.data.staging import Staging, changed

    labels = _labels(settings)
    files, path, errors = _source(settings.source)
    log = partial(err.print, style="dim", soft_wrap=True)
    with errors:
        staged, new = Staging(files, settings.to, labels, log).run(find_shards(files, path))
    different = changed(settings.to, staged) if settings.check else []
    images = sum(len(shard.images) for shard in staged)
    size = sum(image.size for shard in staged for image in shard.images.values())
    if settings.as_json:
        facts = {"shards": len(staged), "new": new, "images": images, "bytes": size}
        print_json({**facts, "changed": different if settings.check else None})
    else:
        checked = f"; {len(different)} of them changed" if settings.check else ""
        said = f"{counted(len(staged), 'shard')}, {new} new: {images:,} images, {size / 2**20:,.1f} MiB{checked}."
        out.say(f"{said} Folder: {settings.to}")
        for name in different:
            out.say(f"  {name}")
    if different:
        err.say(f"Delete these files, then stage them again: {typed_again('--check')}")
        raise SystemExit(1)


def _source(text: str) -> tuple[FileSystem, str, AbstractContextManager[None]]:
    """(File system, path in it, context that turns its errors into ours)."""
    from carft.store.object_store import ObjectStore, is_url

    if is_url(text):
        store = ObjectStore(text)
        return store.files, store.root, store.errors()
    from pyarrow.fs import LocalFileSystem

    if not (path := Path(text)).exists():
        raise UserError(f"There is no '{text}'.", "Name a folder, a file, or s3://BUCKET/PREFIX.")
    return LocalFileSystem(), str(path.resolve()), _local_errors()


@contextmanager
def _local_errors() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise UserError(f"The shards cannot be read: {error}.", "Then the same command goes on.") from error


def _labels(settings: StageSettings) -> Labels:
    from carft.data.shards import Labels

    if settings.classes is None:
        return Labels(column=settings.label)
    from carft.data.imagenet.cards import FOLDERS

    if settings.classes in FOLDERS:
        return Labels(FOLDERS[settings.classes], settings.label)
    try:
        names = Path(settings.classes).read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"The class names in '{settings.classes}' cannot be read.", "Name a text file.") from error
    return Labels(tuple(name.strip() for name in names if name.strip()), settings.label)
