"""Damage by chance to a results folder: in JSON, in tables, in bytes, and to what stands in the place of a file."""

from __future__ import annotations

import copy
import io
import json
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from random import Random
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

#: files that are changed at most
MOST = 16
#: one of them is drawn first, so that rare kinds of file are changed too
KINDS = (
    *("cells/*/record.json", "cells/*/spec.json", "cells/*/evaluations/*.json", "cells/*/*.parquet"),
    *("cells/*/evaluations/*.parquet", "studies/*/study.json", "journal/*.jsonl"),
    *("failures/*.json", "sweeps/*.json", "tasks/*.json", "suites/*.json"),
)
VALUES: Sequence[Any] = (
    None, True, -1, 0, 1, 0.5, -1e308, 1e308, 2**31, 2**63, -(2**63), 10**400, float("nan"), float("inf"), "", "x",
    "../../x", "/", "test", "ood/mean", "ood/hands", "val/top1", "=1+1", "$x$", "\x1b]0;x\x07", "\u202e", "\ud800",
    "\0", "ft", "<script>", "[bold]", "%s{}", "x" * 100_000, [], {}, [[]], [1], ["x"], [None], {"a": {}}, {"": None},
)  # fmt: skip


def damage(rng: Random, results: Path) -> list[str]:
    """Change some files of a results folder; returns what was changed, for the message of a test that fails."""
    said = []
    for _ in range(rng.randint(1, MOST)):
        found = [sorted(path for path in results.glob(pattern) if path.is_file()) for pattern in KINDS]
        path = rng.choice(rng.choice([paths for paths in found if paths]))
        name, drawn = path.relative_to(results), rng.random()
        if drawn < 0.05:
            said.append(f"{name}: {replace_file(rng, path)}")
        elif drawn < 0.2:
            path.write_bytes(changed_bytes(rng, path.read_bytes()))
            said.append(f"{name}: bytes")
        else:
            path.write_bytes(changed_content(rng, path.suffix, path.read_bytes()))
            said.append(f"{name}: content")
    return said


def replace_file(rng: Random, path: Path) -> str:
    """Put a folder, a link, an empty file or a named pipe in the place of a file, or nothing."""
    how = rng.choice(("folder", "link to itself", "empty", "missing", "named pipe"))
    path.unlink()
    if how == "folder":
        path.mkdir()
    elif how == "link to itself":
        path.symlink_to(path)
    elif how == "empty":
        path.write_bytes(b"")
    elif how == "named pipe":
        os.mkfifo(path)
    return how


def changed_content(rng: Random, suffix: str, content: bytes) -> bytes:
    """The content of a file with something else in it, by the kind of file that its name says."""
    with suppress(pa.ArrowException, OSError, ValueError, TypeError):  # it was damaged before
        if suffix == ".json":
            return json.dumps(changed_json(rng, json.loads(content))).encode(errors="surrogatepass")
        if suffix == ".jsonl":
            lines = content.splitlines(keepends=True)
            place = rng.randrange(len(lines))
            lines[place] = json.dumps(changed_json(rng, json.loads(lines[place]))).encode() + b"\n"
            return b"".join(lines)
        return changed_table(rng, content)
    return changed_bytes(rng, content)


def changed_bytes(rng: Random, content: bytes) -> bytes:
    """Bytes of which some are set, cut off or inserted, half of them near the end, where Parquet says what it has."""
    made = bytearray(content)
    place = rng.randrange(len(made) + 1)
    if rng.random() < 0.5:
        place = max(0, len(made) - rng.randrange(400))
    how = rng.choice(("set", "cut", "insert"))
    if how == "cut":
        del made[place:]
    else:
        made[place : place + (how == "set")] = rng.randbytes(1)
    return bytes(made)


def changed_json(rng: Random, content: Any) -> Any:
    """JSON with something in it replaced, removed, added or renamed."""
    places = list(_places(content)) if isinstance(content, dict | list) else []
    value = copy.deepcopy(rng.choice(VALUES))
    if not places:
        return value
    inside, key = rng.choice(places)
    how = rng.choice(("replace", "replace", "remove", "add", "rename"))
    if how == "remove":
        del inside[key]
    elif how == "add" and isinstance(inside, dict):
        inside[str(value)] = value
    elif how == "rename" and isinstance(inside, dict):
        inside[rng.choice(("x", "", *map(str, inside)))] = inside.pop(key)
    else:
        inside[key] = value
    return content


def _places(content: Any) -> Iterator[tuple[Any, Any]]:
    """(dict or list, key or index) of every value in JSON."""
    keys = list(content) if isinstance(content, dict) else list(range(len(content)))
    for key in keys:
        yield content, key
        if isinstance(content[key], dict | list):
            yield from _places(content[key])


def changed_table(rng: Random, content: bytes) -> bytes:
    """A Parquet file with another column, or other rows."""
    table = pq.read_table(io.BytesIO(content))
    k = rng.randrange(table.num_columns)
    name, count = table.column_names[k], table.num_rows
    values = rng.choice(([-1], [2**40], [float("nan")], ["x"], [None], [[1, 2]], [{"a": 1}], [b"\xff"], [True]))
    changes: dict[str, Callable[[], pa.Table]] = {
        "remove": lambda: table.remove_column(k),
        "type": lambda: table.set_column(k, name, pa.array(values * count)),
        "empty": lambda: table.slice(0, 0),
        "fewer": lambda: table.slice(0, max(1, count - 1)),
        "order": lambda: table.take(rng.sample(range(count), count)),
        "twice": lambda: table.append_column(name, table.column(k)),
    }
    made = io.BytesIO()
    pq.write_table(rng.choice(list(changes.values()))(), made)
    return made.getvalue()
