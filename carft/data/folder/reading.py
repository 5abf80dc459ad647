"""Your own data are read: from a folder tree or a table, through an index. No torch.

A tree is <domain>/<class>/<image>, or <class>/<image>. A table is a CSV or Parquet file with one row an image. It has
columns path (from the table's folder) and class; domain, group and split where there are any. Others are not read.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyarrow import csv

from carft.core.errors import MANY, CorruptFile, UserError, first_of, typed
from carft.core.files import require_utf8
from carft.data.folder.images import ALONE, SPLITS, ImageRow, ImageTable, ambiguous_stems
from carft.data.index import Index
from carft.data.indexing import indexed, statuses
from carft.data.sets import DataSet
from carft.data.shards import FileStatus
from carft.data.trees import CONVERT, IMAGES, entries_of

LICENCE = "Yours; carft copies nothing"
#: names of folders that are taken for splits where all folders are called so
SPLIT_FOLDERS = {*SPLITS, "valid", "validation"}
#: begins the digest of every folder: that it has none of the files that 0.1.0 read beside the domains
DIGEST_START = b'{"classnames.json": null, "contexts.json": null, "split.json": null}'
#: levels of folders that are looked into below that of a tree: one more than it may have
DEEPEST = 3
#: endings of tables
TABLES = (".csv", ".parquet")
REQUIRED, OPTIONAL = ("path", "class"), ("domain", "group", "split")
KNOWN = (*REQUIRED, *OPTIONAL)
EXAMPLE = "For example, in UTF-8 and separated by commas: path,class,domain and a row photo/cat-01.jpg,cat,photo"


def read(root: Path) -> ImageTable:
    """Return the images of a folder tree, or those that a table lists, from an index that is made if needed.

    Raises ``UserError`` for an invalid or ambiguous tree or table.
    """
    root = root.resolve()
    require_utf8(root)
    try:
        is_folder, is_file = root.is_dir(), root.is_file()
    except OSError as error:  # a name that is too long
        raise UserError(f"'{root}' cannot be read: {error.strerror}.", "Give another path.") from error
    if is_folder:
        files = [root, *root.glob("*/"), *root.glob("*/*/")]
    elif is_file and root.suffix.lower() in TABLES:
        files = [root]
    else:
        problem = f"There is no folder and no table '{root}'."
        if root.exists():
            problem = f"'{root}' is neither a folder nor a table."
        raise UserError(
            problem,
            f"A folder holds <domain>/<class>/<image>, and a table ends in {' or '.join(TABLES)} (docs/folder.md).",
        )
    stamp = tuple((str(path), path.stat().st_mtime_ns) for path in files)
    return read_cached(root, stamp)


@lru_cache(maxsize=8)
def read_cached(root: Path, stamp: object) -> ImageTable:
    """stamp: modification times, which make changed data another key of the cache."""
    index = indexed(own_files(root), Path())
    facts = index.facts
    return ImageTable(
        root=root,
        images=index.splits,
        classes=tuple(facts["classes"]),
        splits=facts["splits"],
        digest=facts["digest"],
        notes=tuple(facts["notes"]),
    )


class OwnFiles(DataSet):
    """A folder tree or a table as a data set. Its splits are the domains."""

    @property
    def reading(self) -> list[str]:
        """A copy of the data in another folder is read alike."""
        return [self.table, self.version]

    def names(self, split: str, part: Index) -> Sequence[str]:
        return [path.relative_to(self.folder).as_posix() for path in part.paths]

    def listed_with_facts(self, root: Path) -> tuple[dict[str, Index], dict[str, Any]]:
        lister = list_table if self.table else list_folder
        table = lister(root / self.folder / self.table)
        facts = {"classes": table.classes, "splits": table.splits, "digest": table.digest, "notes": table.notes}
        return dict(table.images), facts


def own_files(root: Path) -> OwnFiles:
    """Return the folder tree or table at ``root`` as a data set."""
    folder, table, source = root, "", f"the folder '{root}'"
    if root.is_file():
        folder, table, source = root.parent, root.name, f"the table '{root}'"
    return OwnFiles(
        name=str(root),
        folder=str(folder),
        table=table,
        measures="Your own data",
        classes=(),
        counts={},
        licence=LICENCE,
        source=source,
    )


# folder trees


def list_folder(root: Path) -> ImageTable:
    """Return the images of a tree. Files with one stem are a group.

    Raises ``UserError`` for images at several depths, a folder without an image, and domains that look like splits.
    """
    others = Counter[str]()
    images = list(_images_below(root, others))
    if are_splits(path.relative_to(root).parts[0] for path in images):
        raise UserError(
            f"The folders of '{root}' look like splits, not like domains.",
            "List the images in a table with the column split (docs/folder.md).",
        )
    rows = []
    first = _folders_above(images[0], root)
    for path in images:
        folders = _folders_above(path, root)
        if len(folders) != len(first) or not 1 <= len(folders) <= 2:
            raise UserError(
                f"'{root}' is no tree of <domain>/<class>/<image>, nor of <class>/<image>: it holds '{images[0]}' and "
                f"'{path}'.",
                "Move images up or down, or other folders away. Several tasks, <task>/<domain>/<class>/<image>, become "
                f"a tasks file with: {typed('init', 'FOLDER')}",
            )
        domain = folders[0] if len(folders) == 2 else ALONE
        rows.append(ImageRow(path, folders[-1], domain, path.stem, ""))
    digest = hashlib.sha256(DIGEST_START)
    for row, (size, _) in zip(rows, _statuses(rows), strict=True):
        digest.update(f"{row.path.relative_to(root).as_posix()}\t{size}\n".encode())
    notes = ambiguous_stems(rows)
    if others:
        counts = ", ".join(f"{count} {ending}" for ending, count in others.most_common(MANY))
        notes.append(f"Files that are not read: {counts}. {CONVERT}")
    return ImageTable.of(root, rows, digest.hexdigest()[:16], notes)


def _folders_above(image: Path, root: Path) -> tuple[str, ...]:
    return image.relative_to(root).parts[:-1]


def _images_below(folder: Path, others: Counter[str], depth: int = 0) -> Iterator[Path]:
    """Yield the images below a folder, by name, and count other files by their ending. No folder has none."""
    has_images = False
    for entry in entries_of(folder):
        if entry.is_symlink() and not Path(entry.path).exists():
            raise UserError(f"'{entry.path}' is a link to nothing.", "Restore its target, or remove the link.")
        if entry.is_dir():
            if depth < DEEPEST:  # a link may lead to a folder above
                yield from _images_below(folder / entry.name, others, depth + 1)
                has_images = True
        elif entry.name.lower().endswith(IMAGES):
            yield folder / entry.name
            has_images = True
        else:
            others[Path(entry.name).suffix.lower() or entry.name] += 1
    if not has_images:
        raise UserError(f"There is no image in '{folder}'.", f"{CONVERT} Or take the folder away.")


def are_splits(folders: Iterable[str]) -> bool:
    """Return whether folders are called like splits of data."""
    return {name.casefold() for name in folders} <= SPLIT_FOLDERS


def _statuses(rows: Sequence[ImageRow]) -> list[FileStatus]:
    """Return size and time of the file of each row."""
    return statuses([row.path for row in rows])


# tables


def list_table(table: Path) -> ImageTable:
    """Return the images of a table. Without the column group, files with one stem are a group.

    Raises ``UserError`` for a table that cannot be read or contradicts itself, with the row, counted from 1 below the
    names of the columns.
    """
    try:
        names, content = _columns(table)
    except (OSError, ValueError) as error:
        raise CorruptFile(table, (str(error).splitlines() or ["it is empty"])[0].rstrip("."), EXAMPLE) from error
    rows = [_row(table, number, texts) for number, texts in enumerate(content.to_pylist(), start=1)]
    if not rows:
        raise UserError(f"The table '{table}' lists no image.", EXAMPLE)
    seen: dict[Path, int] = {}
    for number, row in enumerate(rows, start=1):
        first = seen.setdefault(row.path, number)
        if first != number:
            problem = f"'{table}', row {number}: the image '{row.path}' stands in row {first} as well."
            raise UserError(problem, "Keep one of the rows.")
    unread = [name for name in names if name not in KNOWN]
    notes = []
    if unread:
        notes.append(f"Columns that are not read: {', '.join(unread)}.")
    if "group" not in names:
        notes.append("No column group: images with the same file name, without its ending, are one group.")
        notes += ambiguous_stems(rows)
    facts = []
    for row, (size, _) in zip(rows, _statuses(rows), strict=True):
        name = row.path.relative_to(table.parent).as_posix()
        facts.append([name, row.label, row.domain, row.group, row.split, size])
    digest = hashlib.sha256(json.dumps(sorted(facts)).encode()).hexdigest()[:16]
    return ImageTable.of(table, rows, digest, notes)


def _columns(table: Path) -> tuple[list[str], pa.Table]:
    """Return the names of all columns, and the columns that are read."""
    if table.suffix.lower() == ".csv":
        layout = csv.ParseOptions(newlines_in_values=True)
        texts = dict.fromkeys(csv.open_csv(table, parse_options=layout).schema.names, pa.string())
        content = csv.read_csv(table, parse_options=layout, convert_options=csv.ConvertOptions(column_types=texts))
        content = content.rename_columns([name.strip() for name in content.column_names])
        names = content.column_names
        return names, content.select(_checked_columns(table, names))
    import pyarrow.parquet as pq

    names = list(pq.read_schema(table).names)
    return names, pq.read_table(table, columns=_checked_columns(table, names))


def _checked_columns(table: Path, names: Sequence[str]) -> list[str]:
    """Return the columns that are read, of those of a table. Raises ``UserError`` for columns that cannot be."""
    for name in KNOWN:
        if name in REQUIRED and name not in names:
            has = f"The table '{table}' has no column '{name}'; it has {first_of(names, MANY)}."
            raise UserError(has, EXAMPLE)
        if names.count(name) > 1:
            raise UserError(f"The table '{table}' has the column '{name}' twice.", "Rename one of them.")
    return [name for name in KNOWN if name in names]


def _row(table: Path, number: int, columns: dict[str, object]) -> ImageRow:
    place = f"'{table}', row {number}"
    values = {}
    for name, value in columns.items():
        text = "" if value is None else str(value).strip()
        if not text or "\0" in text:
            raise UserError(f"{place}: the column {name} holds no text.", "Fill it in, or leave the image out.")
        values[name] = text
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
    split = values.get("split", "")
    if split and split not in SPLITS:
        raise UserError(f"{place}: there is no split '{split}'.", f"Known: {', '.join(SPLITS)}.")
    return ImageRow(path, values["class"], values.get("domain", ALONE), values.get("group", path.stem), split)
