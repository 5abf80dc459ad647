"""Files written whole or not at all, JSON that is sound or refused, and names that lead nowhere else. No torch."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

from carft.core.errors import UserError, corrupt


def plain_name(name: str) -> str:
    """``name`` if it is a file name and nothing else; ``UserError`` for one that could lead elsewhere."""
    if not isinstance(name, str) or name in ("", ".", "..") or set("/\\\0") & set(name):
        raise UserError(f"'{name}' is not the name of a cell.", "Names in a results folder hold no path.")
    return name


def read_json(path: Path) -> Any:
    """What a JSON file holds; ``UserError`` for one that is corrupt."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise corrupt(path, str(error)) from error


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write JSON with sorted keys, atomically; ``ValueError`` for numbers that are not finite."""
    text = json.dumps(content, indent=1, sort_keys=True, allow_nan=False)
    write_atomic(path, lambda part: part.write_text(text + "\n", encoding="utf-8"))


def write_atomic(path: Path, write: Callable[[Path], object]) -> None:
    """Write to a part file beside ``path``, flush it to disk, then rename."""
    part = path.with_name(f"{path.name}.{os.getpid()}-{uuid4().hex[:8]}.part")
    try:
        write(part)
        with part.open("rb+") as stream:
            os.fsync(stream.fileno())
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def files_below(root: Path, folders: tuple[str, ...]) -> list[str]:
    """Paths below ``root`` of every file in these of its folders, sorted, with ``/``; ``UserError`` for a link.

    A link in a folder from somewhere else could lead anywhere, so none is followed.
    """
    found = []
    for name in folders:
        for folder, inner, names in os.walk(root / name):
            for entry in (*inner, *names):
                if Path(folder, entry).is_symlink():
                    raise UserError(f"'{Path(folder, entry)}' is a link.", "Put the file itself in its place.")
            found += [Path(folder, entry).relative_to(root).as_posix() for entry in names if not _is_work(entry)]
    return sorted(found)


def _is_work(name: str) -> bool:
    return name.endswith(".part") or name.startswith(".")


@contextmanager
def new_folder(target: Path) -> Iterator[Path]:
    """A folder to fill, which becomes ``target`` when the block ends well; ``UserError`` when something is there."""
    if target.is_symlink() or (target.exists() and (not target.is_dir() or any(target.iterdir()))):
        raise UserError(f"'{target}' is there already.", "Name a folder that does not exist yet.")
    part = target.with_name(f".{target.name}-{uuid4().hex[:8]}")
    try:
        part.mkdir(parents=True)
    except OSError as error:
        raise UserError(
            f"'{target}' cannot be written: {error.strerror}.", "Name a folder you may write to."
        ) from error
    try:
        yield part
        if target.is_dir():
            target.rmdir()
        part.rename(target)
    finally:
        shutil.rmtree(part, ignore_errors=True)
