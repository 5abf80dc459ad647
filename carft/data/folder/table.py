"""Images in one table, CSV or Parquet: one row an image. No torch.

Columns: path (from the table's folder) and class; domain, group and split where there are any. Other columns are not
read.
"""

from __future__ import annotations

import csv
import difflib
import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from carft.core.errors import MANY, CorruptFile, UserError
from carft.data.folder.splits import SPLITS, split_of
from carft.data.folder.table_index import indexed_tree
from carft.data.folder.tree import ALONE, GROUP, STEM, Tree, checked_classes, group_of
from carft.data.folder.words import class_words, domain_prompts
from carft.data.sets import Index
from carft.data.trees import CONVERT, IMAGES, entries_of

#: endings of tables
TABLES = (".csv", ".parquet")
#: bytes of a table above which it is read from an index
LARGE = 256 * 2**10
REQUIRED, OPTIONAL = ("path", "class"), ("domain", "group", "split")
KNOWN = (*REQUIRED, *OPTIONAL)
EXAMPLE = "For example: path,class,domain and a row photo/cat-01.jpg,cat,photo"


@dataclass(frozen=True)
class Row:
    """A row. Optional columns that the table lacks are empty."""

    where: str
    """The row, for messages."""
    path: Path
    label: str
    domain: str
    group: str
    split: str


def read_table(table: Path, group: str = "", full: bool = False) -> Tree:
    """Return the tree that a table lists. A large table is read from its index, which is made if needed.

    group: pattern of groups in names of files, for a table without the column. full: compare the index with size and
    time of every file. Raises ``UserError`` for a table that cannot be read or contradicts itself, with the row.
    """
    if not table.is_file():
        raise UserError(f"There is no table '{table}'.", EXAMPLE)
    facts = table.stat()
    return _read(table, group, facts.st_mtime_ns, facts.st_size > LARGE, full)


@lru_cache(maxsize=8)
def _read(table: Path, pattern: str, stamp: int, is_large: bool, full: bool) -> Tree:
    if is_large:
        return indexed_tree(table, pattern, lambda: _parsed(table, pattern), full)
    return _parsed(table, pattern)


def _parsed(table: Path, pattern: str) -> Tree:
    columns, cells = _cells(table)
    if "group" in columns and pattern:
        raise UserError(f"'{table}' has the column group, and a group pattern is given.", "Leave one of the two out.")
    rows = [_row(table, where, values, pattern) for where, values in cells]
    if not rows:
        raise UserError(f"The table '{table}' lists no image.", EXAMPLE)
    _require_once(rows)
    for column in ("class", "domain"):
        _require_one_spelling(column, rows)
    domains = tuple(sorted({row.domain for row in rows}))
    present = {domain: sorted({row.label for row in rows if row.domain == domain}) for domain in domains}
    classes = checked_classes(table, present)
    return Tree(
        root=table,
        domains=domains,
        folders=classes,
        words=class_words(classes, {}, table),
        prompts=domain_prompts(domains, {}, table),
        images={domain: _index(rows, domain, classes) for domain in domains},
        splits=_splits(table, rows),
        digest=_digest(table, rows),
        unit=GROUP if "group" in columns or pattern else STEM,
    )


def unread_notes(tree: Tree) -> list[str]:
    """Which files of a folder or columns of a table are not read, and what a table leaves to defaults, as sentences."""
    if tree.root == tree.base:
        return _unread_files(tree)
    unread = [name for name in _columns(tree.root) if name not in KNOWN]
    notes = [f"Columns that are not read: {', '.join(unread)}."] if unread else []
    if tree.unit == STEM:
        notes.append("No column group: images with the same file name, without its ending, are one group.")
    if tree.domains == (ALONE,):
        notes.append("No column domain: all images are of one domain.")
    return notes


def _unread_files(tree: Tree) -> list[str]:
    """How many files beside the images of a folder are not read, by the ending of their names."""
    places = [tree.base if domain == ALONE else tree.base / domain for domain in tree.domains]
    entries = (entry for place in places for name in tree.folders for entry in entries_of(place / name))
    endings = Counter(Path(e.name).suffix.lower() or e.name for e in entries if not e.name.lower().endswith(IMAGES))
    if not endings:
        return []
    counts = ", ".join(f"{count} {ending}" for ending, count in endings.most_common(MANY))
    return [f"Files that are not read: {counts}. {CONVERT}"]


def _columns(table: Path) -> list[str]:
    if table.suffix.lower() == ".csv":
        with table.open(encoding="utf-8-sig", newline="") as stream:
            return [name.strip() for name in next(csv.reader(stream, strict=True), [])]
    import pyarrow.parquet as pq

    return list(pq.read_schema(table).names)


def _cells(table: Path) -> tuple[set[str], list[tuple[str, dict[str, str]]]]:
    """Return the columns that are read, and of each row what messages call it and its values, without outer blanks."""
    try:
        names, lines = _csv(table) if table.suffix.lower() == ".csv" else _parquet(table)
    except UnicodeDecodeError as error:
        raise CorruptFile(table, "it is not UTF-8", "Save it as CSV UTF-8.") from error
    except (OSError, ValueError, csv.Error) as error:
        raise CorruptFile(table, str(error).splitlines()[0] if str(error) else "it is empty", EXAMPLE) from error
    columns = _checked_columns(table, names)
    kept = [(k, name) for k, name in enumerate(names) if name in columns]
    found = []
    for where, values in lines:
        if len(values) != len(names):
            raise UserError(f"'{table}', {where}: {len(values)} fields, but there are {len(names)} columns.", EXAMPLE)
        found.append((where, {name: values[k].strip() for k, name in kept}))
    return columns, found


def _csv(table: Path) -> tuple[list[str], list[tuple[str, list[str]]]]:
    with table.open(encoding="utf-8-sig", newline="") as stream:
        reader = csv.reader(stream, strict=True)
        names = [name.strip() for name in next(reader, [])]
        return names, [(f"line {reader.line_num}", row) for row in reader if row]


def _parquet(table: Path) -> tuple[list[str], list[tuple[str, list[str]]]]:
    import pyarrow.parquet as pq

    found = pq.read_table(table)
    names = [name for name in found.column_names if name in KNOWN]
    values = [["" if one is None else str(one) for one in found[name].to_pylist()] for name in names]
    lines = [(f"row {k}", list(row)) for k, row in enumerate(zip(*values, strict=True), start=1)]
    return names, lines


def _checked_columns(table: Path, names: Sequence[str]) -> set[str]:
    for name in REQUIRED:
        if name not in names:
            raise UserError(f"The table '{table}' has no column '{name}'{_instead(table, names)}.", EXAMPLE)
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
    return {name for name in names if name in KNOWN}


def _instead(table: Path, names: Sequence[str]) -> str:
    """What the first line of a CSV file is read as. Of Parquet only the columns that are known are read."""
    if table.suffix.lower() != ".csv" or not names:
        return ""
    few = ", ".join(names[:MANY]) + ", ..." * (len(names) > MANY)
    separated = " (columns are separated by commas)" if len(names) == 1 else ""
    return f"; it has {few}{separated}"


def _row(table: Path, where: str, values: dict[str, str], pattern: str) -> Row:
    where = f"'{table}', {where}"
    for name, value in values.items():
        if not value:
            raise UserError(f"{where}: the column {name} is empty.", "Fill it in, or leave the image out.")
        if "\0" in value:
            raise UserError(f"{where}: the column {name} holds a zero byte.", "Write plain text.")
    path = (table.parent / values["path"]).resolve()
    if not path.is_relative_to(table.parent):
        raise UserError(
            f"{where}: '{values['path']}' lies outside the folder of the table.",
            "Put the table into a folder above all images; paths are read from there.",
        )
    if not path.name.lower().endswith(IMAGES):
        raise UserError(f"{where}: '{values['path']}' is no image.", CONVERT)
    if not path.is_file():
        raise UserError(f"{where}: there is no file '{path}'.", "Paths are read from the table's folder.")
    if (split := values.get("split", "")) and split not in SPLITS:
        raise UserError(f"{where}: there is no split '{split}'.", f"Known: {', '.join(SPLITS)}.")
    group = values.get("group") or group_of(path, pattern)
    return Row(where, path, values["class"], values.get("domain", ALONE), group, split)


def _require_once(rows: Sequence[Row]) -> None:
    seen: dict[Path, str] = {}
    for row in rows:
        if (first := seen.setdefault(row.path, row.where)) != row.where:
            raise UserError(f"{row.where}: the image '{row.path}' stands in {first} as well.", "Keep one of the rows.")


def _require_one_spelling(column: str, rows: Sequence[Row]) -> None:
    """Raise ``UserError`` for two values of a column that differ in case only."""
    seen: dict[str, tuple[str, str]] = {}
    for row in rows:
        value = row.label if column == "class" else row.domain
        other, where = seen.setdefault(value.casefold(), (value, row.where))
        if other != value:
            raise UserError(
                f"{row.where}: the {column} '{value}' is spelled '{other}' in {where.rpartition(', ')[2]}.",
                f"Write it in one way; two {'classes' if column == 'class' else 'domains'} differ in more than case.",
            )


def _index(rows: Sequence[Row], domain: str, classes: Sequence[str]) -> Index:
    numbers = {name: label for label, name in enumerate(classes)}
    mine = sorted((numbers[row.label], str(row.path), row.path, row.group) for row in rows if row.domain == domain)
    return Index(*map(tuple, zip(*((path, label, group) for label, _, path, group in mine), strict=True)))


def _splits(table: Path, rows: Sequence[Row]) -> dict[str, str]:
    """Return group -> split, from the column or by a stable hash of the group."""
    found: dict[str, Row] = {}
    for row in rows:
        first = found.setdefault(row.group, row)
        if first.split != row.split:
            raise UserError(
                f"{row.where}: the group '{row.group}' is in {row.split}, and in {first.split} in {first.where}.",
                "All images of a group belong to one split.",
            )
    return {group: row.split or split_of(group) for group, row in found.items()}


def _digest(table: Path, rows: Sequence[Row]) -> str:
    facts = sorted(
        [row.path.relative_to(table.parent).as_posix(), row.label, row.domain, row.group, row.split, size]
        for row in rows
        for size in [row.path.stat().st_size]
    )
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:16]
