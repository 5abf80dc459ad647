"""Files written whole or not at all, JSON that is sound or refused, and names that lead nowhere else. No torch."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from uuid import uuid4

from carft.core.errors import Refusal
from carft.store.predictions import torn


def plain_name(name: str) -> str:
    """``name`` if it is a file name and nothing else; ``Refusal`` for one that could lead elsewhere."""
    if not isinstance(name, str) or name in ("", ".", "..") or set("/\\\0") & set(name):
        raise Refusal(f"'{name}' is not the name of a cell.", "Names in a results folder hold no path.")
    return name


def read_json(path: Path) -> Any:
    """What a JSON file holds; ``Refusal`` for one that is torn."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise torn(path, str(error)) from error


def finite_numbers(found: Mapping[str, Any]) -> dict[str, float]:
    """Names with finite numbers; ``ValueError`` for anything else."""
    for name, value in found.items():
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise ValueError(f"'{name}' is no finite number")
    return dict(found)


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write JSON with sorted keys, atomically; ``ValueError`` for numbers that are not finite."""
    text = json.dumps(content, indent=1, sort_keys=True, allow_nan=False)
    atomic(path, lambda part: part.write_text(text + "\n", encoding="utf-8"))


def atomic(path: Path, write: Callable[[Path], object]) -> None:
    """Write to a part file beside ``path``, flush it to disk, then rename."""
    part = path.with_name(f"{path.name}.{os.getpid()}-{uuid4().hex[:8]}.part")
    try:
        write(part)
        with part.open("rb+") as stream:
            os.fsync(stream.fileno())
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
