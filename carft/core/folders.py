"""The files of a results folder, and a new folder that appears whole or not at all. No torch."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

from carft.core.errors import Refusal


def files_below(root: Path, folders: tuple[str, ...]) -> list[str]:
    """Paths below ``root`` of every file in these of its folders, sorted, with ``/``; ``Refusal`` for a link.

    A link in a folder from somewhere else could lead anywhere, so none is followed.
    """
    found = []
    for name in folders:
        for folder, inner, names in os.walk(root / name):
            for entry in (*inner, *names):
                if Path(folder, entry).is_symlink():
                    raise Refusal(f"'{Path(folder, entry)}' is a link.", "Put the file itself in its place.")
            found += [Path(folder, entry).relative_to(root).as_posix() for entry in names if not _is_work(entry)]
    return sorted(found)


def _is_work(name: str) -> bool:
    return name.endswith(".part") or name.startswith(".")


@contextmanager
def new_folder(target: Path) -> Iterator[Path]:
    """A folder to fill, which becomes ``target`` when the block ends well; ``Refusal`` when something is there."""
    if target.is_symlink() or (target.exists() and (not target.is_dir() or any(target.iterdir()))):
        raise Refusal(f"'{target}' is there already.", "Name a folder that does not exist yet.")
    part = target.with_name(f".{target.name}-{uuid4().hex[:8]}")
    try:
        part.mkdir(parents=True)
    except OSError as error:
        raise Refusal(f"'{target}' cannot be written: {error.strerror}.", "Name a folder you may write to.") from error
    try:
        yield part
        if target.is_dir():
            target.rmdir()
        part.rename(target)
    finally:
        shutil.rmtree(part, ignore_errors=True)
