"""A CSV or Parquet file with one row an image, read into a table of images. No torch.

Columns: path (from the table's folder) and class; domain, group and split where there are any. Other columns are not
read.
"""

from __future__ import annotations

import csv
import difflib
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

from carft.core.errors import MANY, CorruptFile, UserError
from carft.data.folder.images import ALONE, GROUP, SPLITS, STEM, ImageTable, Row, group_of
from carft.data.indexing import statuses
from carft.data.trees import CONVERT, IMAGES

#: endings of tables
TABLES = (".csv", ".parquet")
REQUIRED, OPTIONAL = ("path", "class"), ("domain", "group", "split")
KNOWN = (*REQUIRED, *OPTIONAL)
EXAMPLE = "For example: path,class,domain and a row photo/cat-01.jpg,cat,photo"


def list_table(table: Path, pattern: str) -> ImageTable:
    """Return the images of a table. pattern: of groups in names of files, for a table without the column.

    Raises ``UserError`` for a table that cannot be read or contradicts itself, with the row.
    """
    try:
        names, lines = _read_csv(table) if table.suffix.lower() == ".csv" else _read_parquet(table)
    except UnicodeDecodeError as error:
        raise CorruptFile(table, "it is not UTF-8", "Save it as CSV UTF-8.") from error
    except (OSError, ValueError, csv.Error) as error:
        why = str(error).splitlines()[0].rstrip(".") if str(error) else "it is empty"
        raise CorruptFile(table, why, EXAMPLE) from error
    if "group" in names and pattern:
        raise UserError(f"'{table}' has the column group, and a group pattern is given.", "Leave one of the two out.")
    rows = [_row(table, where, values, pattern) for where, values in lines]
    if not rows:
        raise UserError(f"The table '{table}' lists no image.", EXAMPLE)
    seen: dict[Path, str] = {}
    for row in rows:
        if (first := seen.setdefault(row.path, row.where)) != row.where:
            problem = f"'{table}', {row.where}: the image '{row.path}' stands in {first} as well."
            raise UserError(problem, "Keep one of the rows.")
    unread = [name for name in names if name not in KNOWN]
    notes = [f"Columns that are not read: {', '.join(unread)}."] if unread else []
    if "group" not in names and not pattern:
        notes.append("No column group: images with the same file name, without its ending, are one group.")
    if all(row.domain == ALONE for row in rows):
        notes.append("No column domain: all images are of one domain.")
    unit = GROUP if "group" in names or pattern else STEM
    sizes = statuses([row.path for row in rows])
    facts = sorted(
        [row.path.relative_to(table.parent).as_posix(), row.label, row.domain, row.group, row.split, size]
        for row, (size, _) in zip(rows, sizes, strict=True)
    )
    digest = hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:16]
    return ImageTable.of(table, rows, digest, unit, notes)


def _read_csv(table: Path) -> tuple[list[str], list[tuple[str, dict[str, str]]]]:
    """Return all columns, and of each row what messages call it and its values."""
    lines = []
    with table.open(encoding="utf-8-sig", newline="") as stream:
        reader = csv.reader(stream, strict=True)
        names = [name.strip() for name in next(reader, [])]
        _check_columns(table, names)
        for values in filter(None, reader):
            where = f"line {reader.line_num}"
            if len(values) != len(names):
                problem = f"'{table}', {where}: {len(values)} fields, but there are {len(names)} columns."
                raise UserError(problem, EXAMPLE)
            lines.append((where, dict(zip(names, values, strict=True))))
    return names, lines


def _read_parquet(table: Path) -> tuple[list[str], list[tuple[str, dict[str, str]]]]:
    """Return all columns, and of each row what messages call it and the values that are read."""
    import pyarrow.parquet as pq

    names = list(pq.read_schema(table).names)
    _check_columns(table, names)
    rows = pq.read_table(table, columns=[name for name in KNOWN if name in names]).to_pylist()
    texts = ({name: "" if value is None else str(value) for name, value in row.items()} for row in rows)
    return names, [(f"row {number}", row) for number, row in enumerate(texts, start=1)]


def _check_columns(table: Path, names: Sequence[str]) -> None:
    for name in REQUIRED:
        if name not in names:
            few = ", ".join(names[:MANY]) + ", ..." * (len(names) > MANY)
            separated = " (columns are separated by commas)" if len(names) == 1 else ""
            has = f"; it has {few}{separated}" if names else ""
            raise UserError(f"The table '{table}' has no column '{name}'{has}.", EXAMPLE)
    for name in KNOWN:
        if names.count(name) > 1:
            raise UserError(f"The table '{table}' has the column '{name}' twice.", "Rename one of them.")
    for name in names:
        near = difflib.get_close_matches(name.casefold(), OPTIONAL, n=1, cutoff=0.8)
        if near and name not in KNOWN and near[0] not in names:
            raise UserError(
                f"The table '{table}' has the column '{name}'; is it '{near[0]}'?",
                f"Rename it to '{near[0]}', or to something else if it is not meant.",
            )


def _row(table: Path, where: str, texts: dict[str, str], pattern: str) -> Row:
    place = f"'{table}', {where}"
    values = {name: texts[name].strip() for name in KNOWN if name in texts}
    for name, value in values.items():
        if not value:
            raise UserError(f"{place}: the column {name} is empty.", "Fill it in, or leave the image out.")
        if "\0" in value:
            raise UserError(f"{place}: the column {name} holds a zero byte.", "Write plain text.")
    path = (table.parent / values["path"]).resolve()
    if not path.is_relative_to(table.parent):
        raise UserError(
            f"{place}: '{values['path']}' lies outside the folder of the table.",
            "Put the table into a folder above all images; paths are read from there.",
        )
    if not path.name.lower().endswith(IMAGES):
        raise UserError(f"{place}: '{values['path']}' is no image.", CONVERT)
    if not path.is_file():
        raise UserError(f"{place}: there is no file '{path}'.", "Paths are read from the table's folder.")
    if (split := values.get("split", "")) and split not in SPLITS:
        raise UserError(f"{place}: there is no split '{split}'.", f"Known: {', '.join(SPLITS)}.")
    group = values.get("group") or group_of(path, pattern)
    return Row(where, path, values["class"], values.get("domain", ALONE), group, split)
