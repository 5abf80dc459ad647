"""A CSV or Parquet file with one row an image, read into a table of images. No torch.

Columns: path (from the table's folder) and class; domain, group and split where there are any. Other columns are not
read.
"""

from __future__ import annotations

import difflib
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
from pyarrow import csv

from carft.core.errors import MANY, CorruptFile, UserError, first_of
from carft.data.folder.images import ALONE, GROUP, SPLITS, STEM, ImageTable, Row, group_of
from carft.data.indexing import statuses
from carft.data.trees import CONVERT, IMAGES

#: endings of tables
TABLES = (".csv", ".parquet")
REQUIRED, OPTIONAL = ("path", "class"), ("domain", "group", "split")
KNOWN = (*REQUIRED, *OPTIONAL)
EXAMPLE = "For example, in UTF-8 and separated by commas: path,class,domain and a row photo/cat-01.jpg,cat,photo"


def list_table(table: Path, pattern: str) -> ImageTable:
    """Return the images of a table. pattern: of groups in names of files, for a table without the column.

    Raises ``UserError`` for a table that cannot be read or contradicts itself, with the row, counted from 1 below the
    names of the columns.
    """
    try:
        names, content = _columns(table)
    except (OSError, ValueError) as error:
        raise CorruptFile(table, (str(error).splitlines() or ["it is empty"])[0].rstrip("."), EXAMPLE) from error
    if "group" in names and pattern:
        raise UserError(f"'{table}' has the column group, and a group pattern is given.", "Leave one of the two out.")
    rows = [_row(table, f"row {number}", texts, pattern) for number, texts in enumerate(content.to_pylist(), start=1)]
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
    unit = GROUP if "group" in names or pattern else STEM
    sizes = statuses([row.path for row in rows])
    facts = sorted(
        [row.path.relative_to(table.parent).as_posix(), row.label, row.domain, row.group, row.split, size]
        for row, (size, _) in zip(rows, sizes, strict=True)
    )
    digest = hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:16]
    return ImageTable.of(table, rows, digest, unit, notes)


def _columns(table: Path) -> tuple[list[str], pa.Table]:
    """Return the names of all columns, and the columns that are read."""
    if table.suffix.lower() == ".csv":
        layout = csv.ParseOptions(newlines_in_values=True)
        texts = dict.fromkeys(csv.open_csv(table, parse_options=layout).schema.names, pa.string())
        content = csv.read_csv(table, parse_options=layout, convert_options=csv.ConvertOptions(column_types=texts))
        content = content.rename_columns([name.strip() for name in content.column_names])
        _check_columns(table, content.column_names)
        return content.column_names, content.select([name for name in KNOWN if name in content.column_names])
    import pyarrow.parquet as pq

    names = list(pq.read_schema(table).names)
    _check_columns(table, names)
    return names, pq.read_table(table, columns=[name for name in KNOWN if name in names])


def _check_columns(table: Path, names: Sequence[str]) -> None:
    for name in KNOWN:
        if name in REQUIRED and name not in names:
            has = f"The table '{table}' has no column '{name}'; it has {first_of(names, MANY)}."
            raise UserError(has, EXAMPLE)
        if names.count(name) > 1:
            raise UserError(f"The table '{table}' has the column '{name}' twice.", "Rename one of them.")
    for name in names:
        near = difflib.get_close_matches(name.casefold(), OPTIONAL, n=1, cutoff=0.8)
        if near and name not in KNOWN and near[0] not in names:
            raise UserError(
                f"The table '{table}' has the column '{name}'; is it '{near[0]}'?",
                f"Rename it to '{near[0]}', or to something else if it is not meant.",
            )


def _row(table: Path, where: str, columns: dict[str, object], pattern: str) -> Row:
    place = f"'{table}', {where}"
    values = {name: "" if value is None else str(value).strip() for name, value in columns.items()}
    for name, value in values.items():
        if not value or "\0" in value:
            raise UserError(f"{place}: the column {name} holds no text.", "Fill it in, or leave the image out.")
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
