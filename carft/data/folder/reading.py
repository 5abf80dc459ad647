"""Your own data are read: from a folder tree or a table, through an index. No torch.

A tree is <domain>/<class>/<image>, or <class>/<image>. A table is a CSV or Parquet file with one row an image. It has
columns path (from the table's folder) and class; domain, group and split where there are any. Others are not read.
"""

import difflib
import hashlib
import json
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyarrow import csv

from carft.core.errors import MANY, CorruptFile, UserError, first_of, typed
from carft.core.files import require_utf8
from carft.data.folder.images import ALONE, GROUP, SPLITS, STEM, ImageRow, ImageTable, groups_of
from carft.data.index import Index
from carft.data.indexing import indexed, statuses
from carft.data.sets import DataSet
from carft.data.shards import FileStatus
from carft.data.trees import CONVERT, IMAGES, entries_of, folder_names

LICENCE = "Yours; carft copies nothing"
#: names of folders that are taken for splits where all folders are called so
SPLIT_FOLDERS = {*SPLITS, "valid", "validation"}
#: files that 0.1.0 read beside the domains; digests still say that there are none, so that versions stay
FORMER = ("classnames.json", "contexts.json", "split.json")
#: endings of tables
TABLES = (".csv", ".parquet")
REQUIRED, OPTIONAL = ("path", "class"), ("domain", "group", "split")
KNOWN = (*REQUIRED, *OPTIONAL)
EXAMPLE = "For example, in UTF-8 and separated by commas: path,class,domain and a row photo/cat-01.jpg,cat,photo"


def read(root: Path, group: str = "", decoded: bool = False) -> ImageTable:
    """Return the images of a folder tree, or those that a table lists, from an index that is made if needed.

    group: pattern of groups in names of files, where no column names them. decoded: also find the images that cannot
    be decoded. Raises ``UserError`` for an invalid or ambiguous tree or table.
    """
    root = root.resolve()
    require_utf8(root)
    try:
        is_folder, is_file = root.is_dir(), root.is_file()
    except OSError as error:  # a name that is too long
        raise UserError(f"'{root}' cannot be read: {error.strerror}.", "Give another path.") from error
    if is_folder:
        domains = [root / name for name in folder_names(root)]
        files = [root, *domains]
        for domain in domains:
            files += [domain / name for name in folder_names(domain)]
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
    return read_cached(root, group, stamp, decoded)


@lru_cache(maxsize=8)
def read_cached(root: Path, group: str, stamp: object, decoded: bool) -> ImageTable:
    """stamp: modification times, which make changed data another key of the cache."""
    index = indexed(own_files(root, group), Path(), decoded)
    facts = index.facts
    return ImageTable(
        root=root,
        images=index.splits,
        classes=tuple(facts["classes"]),
        splits=facts["splits"],
        digest=facts["digest"],
        unit=facts["unit"],
        unread=tuple(facts["unread"]),
        unreadable=frozenset(index.unreadable),
    )


@dataclass(frozen=True, eq=False)
class OwnFiles(DataSet):
    """A folder tree or a table as a data set. Its splits are the domains."""

    group: str = ""
    """Pattern of groups in names of files."""

    @property
    def reading(self) -> list[str]:
        """A copy of the data in another folder is read alike."""
        return [self.table, self.version, self.group]

    def listed_with_facts(self, root: Path) -> tuple[dict[str, Index], dict[str, Any]]:
        lister = list_table if self.table else list_folder
        table = lister(root / self.folder / self.table, self.group)
        facts = {
            "classes": table.classes,
            "splits": table.splits,
            "digest": table.digest,
            "unit": table.unit,
            "unread": table.unread,
        }
        return dict(table.images), facts


def own_files(root: Path, group: str = "") -> OwnFiles:
    """Return the folder tree or table at ``root`` as a data set. group: as of :func:`read`."""
    folder, table, source = root, "", f"the folder '{root}'"
    if root.is_file():
        folder, table, source = root.parent, root.name, f"the table '{root}'"
    return OwnFiles(
        name=f"{root} by {group}" if group else str(root),
        folder=str(folder),
        table=table,
        measures="Your own data",
        classes=(),
        counts={},
        licence=LICENCE,
        source=source,
        group=group,
    )


# folder trees


def list_folder(root: Path, pattern: str) -> ImageTable:
    """Return the images of a tree. pattern: of groups in names of files.

    Raises ``UserError`` for an invalid or ambiguous tree.
    """
    for former in FORMER:
        if (root / former).is_file():
            raise UserError(
                f"'{root / former}' is not read.",
                "Class names and prompts stand in the tasks file, splits in a table with the column split "
                "(docs/folder.md). Then take the file away.",
            )
    rows: list[ImageRow] = []
    unread = Counter[str]()
    for domain, place in _domain_folders(root).items():
        classes = _folders(place, root)
        if not classes:
            raise UserError(
                f"The domain '{domain}' of '{root}' has no folder of a class.",
                "Lay its images out as <domain>/<class>/<image>, or move its folder away.",
            )
        for name in classes:
            for path in _images_of_class(place / name, root, unread):
                rows.append(ImageRow(path, name, domain, "", ""))
    rows = _grouped(rows, root, pattern)
    digest = hashlib.sha256(json.dumps(dict.fromkeys(FORMER), sort_keys=True).encode())
    for row, (size, _) in zip(rows, _statuses(rows), strict=True):
        digest.update(f"{row.path.relative_to(root).as_posix()}\t{size}\n".encode())
    sentences = []
    if unread:
        counts = ", ".join(f"{count} {ending}" for ending, count in unread.most_common(MANY))
        sentences.append(f"Files that are not read: {counts}. {CONVERT}")
    return ImageTable.of(root, rows, digest.hexdigest()[:16], GROUP if pattern else STEM, sentences)


def _images_of_class(folder: Path, root: Path, unread: Counter[str]) -> list[Path]:
    """Return the images in the folder of a class, and count the other files in ``unread``, by their ending."""
    images = []
    for entry in _entries(folder, root):
        if entry.is_dir():
            raise UserError(
                f"'{folder}' holds the folder '{entry.name}' where images should be.",
                "The tree has two levels, <domain>/<class>/<image>: move the images up or the folder away. "
                f"Several tasks, <task>/<domain>/<class>/<image>, become a tasks file with: {typed('init', 'FOLDER')}",
            )
        if entry.name.lower().endswith(IMAGES):
            images.append(folder / entry.name)
        else:
            unread[Path(entry.name).suffix.lower() or entry.name] += 1
    if not images:
        raise UserError(f"There is no image in '{folder}'.", f"{CONVERT} Or delete the class.")
    return images


def _domain_folders(root: Path) -> dict[str, Path]:
    """Return domain -> the folder that holds its class folders: ``root`` alone where it holds those itself."""
    folders = _folders(root, root)
    has_images = has_folders = False
    for name in folders:
        for entry in _entries(root / name, root):
            has_images |= entry.name.lower().endswith(IMAGES)
            has_folders |= entry.is_dir()
    if has_images and not has_folders:
        return {ALONE: root}
    if len(folders) < 2:
        count = "one domain only" if folders else "no domain"
        raise UserError(
            f"'{root}' has {count}, and robustness under shift needs two.",
            "Lay the images out as <domain>/<class>/<image>, for example photo/cat/1.jpg and sketch/cat/1.jpg, or "
            "without domains as <class>/<image>.",
        )
    if are_splits(folders):
        raise UserError(
            f"The folders of '{root}' are called {', '.join(folders)}: they look like splits, not like domains.",
            "List the images in a table with the column split (docs/folder.md).",
        )
    return {name: root / name for name in folders}


def are_splits(folders: Iterable[str]) -> bool:
    """Return whether folders are called like splits of data."""
    return {name.casefold() for name in folders} <= SPLIT_FOLDERS


def _folders(folder: Path, root: Path) -> list[str]:
    return [entry.name for entry in _entries(folder, root) if entry.is_dir()]


def _entries(folder: Path, root: Path) -> Iterator[os.DirEntry[str]]:
    """Yield the entries of a folder by name, without hidden files. Raises ``UserError`` for a link out of the tree."""
    for entry in entries_of(folder):
        if entry.is_symlink() and not Path(entry.path).resolve().is_relative_to(root):
            raise UserError(
                f"'{entry.path}' is a link that leads out of '{root}'.",
                "Copy its target into the folder: files outside are not part of the version of the data.",
            )
        yield entry


def _grouped(rows: Sequence[ImageRow], base: Path, pattern: str) -> list[ImageRow]:
    """Return the rows with the groups that the names of their files give."""
    groups = groups_of([row.path for row in rows], base, pattern)
    grouped = []
    for row, group in zip(rows, groups, strict=True):
        grouped.append(row._replace(group=group))
    return grouped


def _statuses(rows: Sequence[ImageRow]) -> list[FileStatus]:
    """Return size and time of the file of each row."""
    return statuses([row.path for row in rows])


# tables


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
    notes, unit = [], GROUP
    if unread:
        notes.append(f"Columns that are not read: {', '.join(unread)}.")
    if "group" not in names:
        rows = _grouped(rows, table.parent, pattern)
        if not pattern:
            unit = STEM
            notes.append("No column group: images with the same file name, without its ending, are one group.")
    facts = []
    for row, (size, _) in zip(rows, _statuses(rows), strict=True):
        name = row.path.relative_to(table.parent).as_posix()
        facts.append([name, row.label, row.domain, row.group, row.split, size])
    digest = hashlib.sha256(json.dumps(sorted(facts)).encode()).hexdigest()[:16]
    return ImageTable.of(table, rows, digest, unit, notes)


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
    for name in names:
        near = difflib.get_close_matches(name.casefold(), OPTIONAL, n=1, cutoff=0.8)
        if near and name not in KNOWN and near[0] not in names:
            raise UserError(
                f"The table '{table}' has the column '{name}'; is it '{near[0]}'?",
                f"Rename it to '{near[0]}', or to something else if it is not meant.",
            )
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
    return ImageRow(path, values["class"], values.get("domain", ALONE), values.get("group", ""), split)
