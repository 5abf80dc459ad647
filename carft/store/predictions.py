"""Predictions as Parquet: one row for each image, with all logits, or the largest logits of a large set.

A compact archive holds the predictions of many cells in two files per set, without logits, the smallest exact form of
classes and contexts:

    predictions/<set>.<key>.images.parquet    one row for each image: image, group, label, context
    predictions/<set>.<key>.cells.parquet     one row for each cell: cell, and pred and context_pred of every image

key is a digest of the images, so cells that were evaluated on other images of a set have files of their own.
"""

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from carft.core.errors import CorruptFile, UserError
from carft.core.files import require_plain_file
from carft.core.metrics import Frame, Largest, Predictions

#: bytes of logits above which only the largest logits of each image are written
WHOLE_UP_TO = 64 * 2**20
#: classes or contexts at most
CLASSES = 1_000_000
#: key of the file's metadata that lists the scored classes
SUBSET = b"carft:subset"
#: folder and endings of the shared files
SHARED = "predictions"
IMAGES, CELLS = ".images.parquet", ".cells.parquet"
SHARED_COLUMNS = ("image", "group", "label", "context")
OWN_COLUMNS = ("pred", "context_pred")
#: columns of predictions without logits, in the order of a cell's own file
COLUMNS = ("image", "group", "label", "pred", "context", "context_pred")
#: columns of a large set in place of all logits
LARGEST_COLUMNS = ("largest_classes", "largest_logits", "label_logit", "logsumexp")
#: columns of text, of indices of classes or contexts, and of lists of numbers; the others hold numbers
TEXT_COLUMNS = ("image", "group", "cell")
INDEX_COLUMNS = ("label", "pred", "context", "context_pred")
LIST_COLUMNS = ("logits", "largest_classes", "largest_logits", "context_logits")


def write_predictions(p: Predictions, path: Path) -> None:
    """Write predictions to ``path``. Of a large set only the largest logits are written."""
    if not isinstance(p.logits, Largest) and p.logits.nbytes > WHOLE_UP_TO:
        p = p.condensed()
    columns = {
        "image": list(p.images),
        "group": list(p.groups),
        "label": p.labels,
        "pred": p.predicted,
        "context": p.contexts,
        "context_pred": p.predicted_contexts,
        **_logit_columns(p.logits),
        "context_logits": _lists(p.context_logits, np.float32),
    }
    note = {} if p.subset is None else {SUBSET: json.dumps(p.subset).encode()}
    pq.write_table(pa.table(columns).replace_schema_metadata(note), path, compression="zstd")


def _logit_columns(logits: np.ndarray | Largest) -> dict[str, object]:
    if isinstance(logits, np.ndarray):
        return {"logits": _lists(logits, np.float32)}
    return {
        "largest_classes": _lists(logits.classes, np.int32),
        "largest_logits": _lists(logits.values, np.float32),
        "label_logit": np.asarray(logits.label, np.float32),
        "logsumexp": np.asarray(logits.log_sum, np.float64),
    }


def predictions_of(table: pa.Table, path: Path) -> Predictions:
    """The inverse of :func:`write_predictions`, from the table in its file, which must have logits.

    Raises ``CorruptFile``, which names ``path``, where scored classes or labels have no logits.
    """
    logits: np.ndarray | Largest
    if "logits" in table.column_names:
        logits = _matrix(table["logits"])
    else:
        logits = Largest(
            _matrix(table["largest_classes"]).astype(np.int64),
            _matrix(table["largest_logits"]),
            table["label_logit"].to_numpy(),
            table["logsumexp"].to_numpy(),
        )
    labels, subset = table["label"].to_numpy(), _subset(table, path)
    if isinstance(logits, np.ndarray):
        scored = np.arange(logits.shape[1]) if subset is None else np.asarray(subset)
        if not np.isin(labels, scored).all() or scored[-1] >= logits.shape[1]:
            raise CorruptFile(path, "a label or a scored class has no logit")
    return Predictions(
        images=table["image"].to_pylist(),
        groups=table["group"].to_pylist(),
        labels=labels,
        contexts=table["context"].to_numpy(),
        logits=logits,
        context_logits=_matrix(table["context_logits"]),
        subset=subset,
    )


def _subset(table: pa.Table, path: Path) -> tuple[int, ...] | None:
    """The scored classes, ascending, that the file's metadata lists; None for all."""
    text = (table.schema.metadata or {}).get(SUBSET)
    if text is None:
        return None
    with _refusals(path):
        subset = json.loads(text)
    if not isinstance(subset, list) or not all(type(label) is int for label in subset):
        raise CorruptFile(path, "its list of scored classes is none")
    if not subset or subset != sorted(set(subset)) or subset[0] < 0:
        raise CorruptFile(path, "its scored classes do not ascend")
    return tuple(subset)


def frame_of(table: pa.Table) -> Frame:
    """The images in a table of predictions, in its order."""
    names, codes = np.unique(np.asarray(table["group"].to_pylist()), return_inverse=True)
    images = table["image"].combine_chunks()
    return Frame(images, codes.astype(np.int32), names, codes_in(table, "label"), codes_in(table, "context"))


def codes_in(table: pa.Table, column: str) -> np.ndarray:
    """(N,) int32: the classes or contexts in a column."""
    return table[column].to_numpy().astype(np.int32)


def _lists(matrix: np.ndarray, dtype: type) -> pa.Array:
    flat = pa.array(np.ascontiguousarray(matrix, dtype=dtype).ravel())
    return pa.FixedSizeListArray.from_arrays(flat, matrix.shape[1])


def _matrix(column: pa.ChunkedArray) -> np.ndarray:
    lists = column.combine_chunks()
    return lists.flatten().to_numpy(zero_copy_only=False).reshape(len(column), -1)


# reading: types and ranges are checked


def read_numbers(path: Path) -> pa.Table:
    """The table of numbers in a Parquet file, such as a history. Raises ``CorruptFile`` for any other file."""
    table = _read_parquet(path)
    for field in table.schema:
        if not (_is_number(field.type) or pa.types.is_null(field.type)):
            raise CorruptFile(path, f"its column '{field.name}' holds no numbers")
    return table


def read_predictions(path: Path) -> pa.Table:
    """The table that :func:`write_predictions` wrote. Raises ``CorruptFile`` for any other file."""
    table = _read_parquet(path)
    logits = ("logits",) if "logits" in table.column_names else LARGEST_COLUMNS
    _require_columns(path, table, (*SHARED_COLUMNS, *OWN_COLUMNS, *logits, "context_logits"))
    return table


def _require_columns(path: Path, table: pa.Table, names: Iterable[str], listed: bool = False) -> None:
    """Raise ``CorruptFile`` unless a table has rows and these columns, each of its kind and without missing values.

    listed: whether indices stand in lists, one for each cell.
    """
    if not table.num_rows:
        raise CorruptFile(path, "it has no rows")
    for name in names:
        if name not in table.column_names:
            raise CorruptFile(path, f"it has no column '{name}'")
        column, is_index = table[name], name in INDEX_COLUMNS
        if name in LIST_COLUMNS or (is_index and listed):
            if not (pa.types.is_fixed_size_list(column.type) and column.type.list_size and not column.null_count):
                raise CorruptFile(path, f"its column '{name}' holds no lists")
            column = pc.list_flatten(column)
        is_right = _is_number
        if name in TEXT_COLUMNS or is_index:
            is_right = pa.types.is_integer if is_index else pa.types.is_string
        if not is_right(column.type) or column.null_count:
            raise CorruptFile(path, f"its column '{name}' is of another type, or has rows without a value")
        if is_index:
            lowest, highest = (-1 if name == "context" else 0), CLASSES - 1  # -1 is an unknown context
            found = pc.min_max(column)
            if found["min"].as_py() < lowest or found["max"].as_py() > highest:
                raise CorruptFile(path, f"its column '{name}' holds a number outside {lowest} to {highest:,}")


def _is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind))


@contextmanager
def _refusals(path: Path) -> Iterator[None]:
    """Raise ``CorruptFile`` for an error of pyarrow."""
    try:
        yield
    except (OSError, pa.ArrowException, ValueError, RecursionError) as error:
        raise CorruptFile(path, (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")) from error


def require_footer(path: Path) -> pq.FileMetaData:
    """Return what the end of a Parquet file says of it. Raises ``CorruptFile`` when it cannot be read."""
    with _refusals(path):
        require_plain_file(path)
        return pq.read_metadata(path)


def _read_parquet(path: Path) -> pa.Table:
    """A table of Parquet. Raises ``CorruptFile`` when it is corrupt."""
    facts = require_footer(path)
    with _refusals(path):
        # a file is read at once: to hand its parts to threads takes longer
        with pq.ParquetFile(path, metadata=facts, pre_buffer=False) as file:
            table = file.read(use_threads=False)
        table.validate(full=True)
    if len(table.column_names) != len(set(table.column_names)):
        raise CorruptFile(path, "two of its columns have one name")
    return table


# without logits, of many cells


@cache
def _read_once(path: Path, changed: int) -> pa.Table:
    table = _read_parquet(path)
    if path.name.endswith(IMAGES):
        _require_columns(path, table, SHARED_COLUMNS)
    else:
        _require_columns(path, table, ("cell", *OWN_COLUMNS), listed=True)
    return table


def shared_table(folder: Path, cell: str, name: str) -> pa.Table | None:
    """The predictions of a cell on a set from shared files, without logits; None where there are none.

    Raises ``CorruptFile`` for a file that cannot be read.
    """
    if not folder.is_dir():
        return None
    with os.scandir(folder) as entries:  # thousands of cells ask, for whom Path objects take seconds
        files = [entry.name for entry in entries if entry.name.endswith(CELLS)]
    for file in sorted(files):
        stem = file.removesuffix(CELLS)
        if stem.rpartition(".")[0] != name.replace("/", "-"):
            continue
        path, images_path = folder / file, folder / (stem + IMAGES)
        cells = _read_once(path, path.stat().st_mtime_ns)
        row = cells["cell"].index(cell).as_py()
        if row < 0:
            continue
        if not images_path.is_file():
            raise CorruptFile(images_path, "it is missing")
        images = _read_once(images_path, images_path.stat().st_mtime_ns)
        columns = {column: images[column] for column in SHARED_COLUMNS}
        for column in OWN_COLUMNS:
            columns[column] = np.asarray(cells[column][row].values, np.int64)
            if len(columns[column]) != len(images):
                raise CorruptFile(path, f"cell {cell} has other images than the set")
        return pa.table(columns).select(list(COLUMNS))
    return None


def write_shared(tables: Iterable[tuple[str, str, pa.Table]], folder: Path) -> list[Path]:
    """Write the predictions of cells to ``folder``, which may not exist, and return the paths of the files, sorted.

    tables: (cell, set, predictions as of :func:`write_predictions`). The same predictions give
    the same bytes in whatever order they come.
    """
    folder.mkdir(parents=True, exist_ok=True)
    files: dict[str, tuple[pa.Table, dict[str, pa.Table]]] = {}  # their name -> images, cell -> its own columns
    for cell, name, table in tables:
        missing = set(COLUMNS) - set(table.column_names)
        if missing:
            raise UserError(f"The predictions of cell {cell} on {name} have no {', '.join(sorted(missing))}.")
        images = table.select(list(SHARED_COLUMNS)).replace_schema_metadata(None).combine_chunks()
        stem = f"{name.replace('/', '-')}.{_digest(images)}"
        _, own = files.setdefault(stem, (images, {}))
        own[cell] = table.select(list(OWN_COLUMNS))
    written = []
    for stem, (images, cells) in files.items():
        for table, end in ((images, IMAGES), (_cells_table(cells), CELLS)):
            pq.write_table(table, folder / f"{stem}{end}", compression="zstd", compression_level=19)
            written.append(folder / f"{stem}{end}")
    return sorted(written)


def _cells_table(cells: Mapping[str, pa.Table]) -> pa.Table:
    ids = sorted(cells)
    columns: dict[str, pa.Array] = {"cell": pa.array(ids)}
    for column in OWN_COLUMNS:
        values = np.stack([cells[cell][column].to_numpy() for cell in ids])
        small = values.astype(np.min_scalar_type(int(values.max(initial=0))))
        columns[column] = pa.FixedSizeListArray.from_arrays(pa.array(small.ravel()), small.shape[1])
    return pa.table(columns)


def _digest(images: pa.Table) -> str:
    digest = hashlib.sha256()
    for column in SHARED_COLUMNS:
        digest.update("\0".join(map(str, images[column].to_pylist())).encode() + b"\1")
    return digest.hexdigest()[:12]
