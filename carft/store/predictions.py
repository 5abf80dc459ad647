"""Predictions as Parquet: one row for each image, with all logits, or the largest logits of a large set.

A compact archive holds the predictions of many cells in two files per set, without logits, the smallest exact form of
classes and contexts:

    predictions/<set>.<key>.images.parquet    one row for each image: image, group, label, context
    predictions/<set>.<key>.cells.parquet     one row for each cell: cell, and pred and context_pred of every image

key is a digest of the images, so cells that were evaluated on other images of a set have files of their own.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from carft.core.errors import CorruptFile, UserError
from carft.core.metrics import Largest, Outcomes, Predictions

#: bytes of logits above which only the largest logits of each image are written
WHOLE_UP_TO = 64 * 2**20
#: key of the file's metadata that lists the scored classes
SUBSET = b"carft:subset"
#: folder and endings of the shared files
SHARED = "predictions"
IMAGES, CELLS = ".images.parquet", ".cells.parquet"
SHARED_COLUMNS = ("image", "group", "label", "context")
OWN_COLUMNS = ("pred", "context_pred")
#: hexadecimal digits of a digest of outcomes
DIGITS = 32
#: columns of predictions without logits, in the order of a cell's own file
COLUMNS = ("image", "group", "label", "pred", "context", "context_pred")


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


def predictions_of(table: pa.Table) -> Predictions:
    """The inverse of :func:`write_predictions`, from the table in its file, which must have logits."""
    subset = (table.schema.metadata or {}).get(SUBSET)
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
    return Predictions(
        images=table["image"].to_pylist(),
        groups=table["group"].to_pylist(),
        labels=table["label"].to_numpy(),
        contexts=table["context"].to_numpy(),
        logits=logits,
        context_logits=_matrix(table["context_logits"]),
        subset=None if subset is None else tuple(json.loads(subset)),
    )


def outcomes_of(table: pa.Table) -> Outcomes:
    """The outcomes in a table of predictions."""
    group, *numbers = (table[column] for column in ("group", "label", "pred", "context", "context_pred"))
    return Outcomes(np.asarray(group.to_pylist()), *(column.to_numpy() for column in numbers))


def _lists(matrix: np.ndarray, dtype: type) -> pa.Array:
    flat = pa.array(np.ascontiguousarray(matrix, dtype=dtype).ravel())
    return pa.FixedSizeListArray.from_arrays(flat, matrix.shape[1])


def _matrix(column: pa.ChunkedArray) -> np.ndarray:
    lists = column.combine_chunks()
    return lists.flatten().to_numpy(zero_copy_only=False).reshape(len(column), -1)


def read_parquet(path: Path) -> pa.Table:
    """The table in a Parquet file; ``UserError`` when it is corrupt."""
    try:
        return pq.ParquetFile(path).read(use_threads=False)
    except (OSError, pa.ArrowInvalid) as error:
        raise CorruptFile(path, str(error).splitlines()[0]) from error


def outcomes_digest(p: Predictions) -> str:
    """Digest of image, group, label, context, class and context predicted: the same with logits and without.

    It has :data:`DIGITS` hexadecimal digits.
    """
    return _joined_digest(_images_digest(p.images, p.groups, p.labels, p.contexts), p.predicted, p.predicted_contexts)


def table_digest(table: pa.Table) -> str:
    """The same, of a table of predictions."""
    names = (table[column].to_pylist() for column in ("image", "group"))
    numbers = (table[column].to_numpy() for column in ("label", "context"))
    return _joined_digest(_images_digest(*names, *numbers), *(table[column].to_numpy() for column in OWN_COLUMNS))


def shared_digests(folder: Path) -> dict[tuple[str, str], str]:
    """(cell, set as files name it) -> the same, of all predictions in shared files, as :func:`shared_table` finds them.

    Files that cannot be read are left out.
    """
    digests: dict[tuple[str, str], str] = {}
    for path in sorted(folder.glob(f"*{CELLS}")):
        stem = path.name.removesuffix(CELLS)
        try:
            images, cells = read_parquet(path.with_name(stem + IMAGES)), read_parquet(path)
            names = (images[column].to_pylist() for column in ("image", "group"))
            numbers = (images[column].to_numpy() for column in ("label", "context"))
            of_images = _images_digest(*names, *numbers)
            own = [cells[column].combine_chunks() for column in OWN_COLUMNS]
            for row, cell in enumerate(cells["cell"].to_pylist()):
                values = (column[row].values.to_numpy(zero_copy_only=False) for column in own)
                digests.setdefault((cell, stem.rpartition(".")[0]), _joined_digest(of_images, *values))
        except (CorruptFile, KeyError, TypeError, ValueError, AttributeError):
            continue
    return digests


def _images_digest(images: Sequence[str], groups: Sequence[str], labels: np.ndarray, contexts: np.ndarray) -> str:
    names = json.dumps([list(images), list(groups)]).encode()
    return hashlib.sha256(names + _bytes(labels) + _bytes(contexts)).hexdigest()


def _joined_digest(of_images: str, predicted: np.ndarray, contexts: np.ndarray) -> str:
    return hashlib.sha256(of_images.encode() + _bytes(predicted) + _bytes(contexts)).hexdigest()[:DIGITS]


def _bytes(numbers: np.ndarray) -> bytes:
    return np.ascontiguousarray(numbers, dtype="<i8").tobytes()


# without logits, of many cells


@cache
# without logits, of many cells


@cache
def _read_once(path: Path, changed: int) -> pa.Table:
    return read_parquet(path)


def shared_table(folder: Path, cell: str, name: str) -> pa.Table | None:
    """The predictions of a cell on a set from shared files, without logits; None where there are none.

    Raises ``CorruptFile`` for a file that cannot be read.
    """
    for path in sorted(folder.glob(f"*{CELLS}")):
        if path.name.removesuffix(CELLS).rpartition(".")[0] != name.replace("/", "-"):
            continue
        images_path = path.with_name(path.name.removesuffix(CELLS) + IMAGES)
        cells = _read_once(path, path.stat().st_mtime_ns)
        if (row := cells["cell"].index(cell).as_py()) < 0:
            continue
        images = _read_once(images_path, images_path.stat().st_mtime_ns)
        own = {column: np.asarray(cells[column][row].values, np.int64) for column in OWN_COLUMNS}
        if any(len(values) != len(images) for values in own.values()):
            raise CorruptFile(path, f"cell {cell} has other images than the set")
        shared = {column: images[column] for column in SHARED_COLUMNS}
        return pa.table({**shared, **own}).select(list(COLUMNS))
    return None


def write_shared(tables: Iterable[tuple[str, str, pa.Table]], folder: Path) -> list[Path]:
    """Write the predictions of cells to ``folder``, which may not exist, and return the paths of the files, sorted.

    tables: (cell, set, predictions as of :func:`write_predictions`). The same predictions give
    the same bytes in whatever order they come.
    """
    folder.mkdir(parents=True, exist_ok=True)
    files: dict[str, tuple[pa.Table, dict[str, pa.Table]]] = {}  # their name -> images, cell -> its own columns
    for cell, name, table in tables:
        if missing := set(COLUMNS) - set(table.column_names):
            raise UserError(f"The predictions of cell {cell} on {name} have no {', '.join(sorted(missing))}.")
        images = table.select(list(SHARED_COLUMNS)).replace_schema_metadata(None).combine_chunks()
        stem = f"{name.replace('/', '-')}.{_digest(images)}"
        files.setdefault(stem, (images, {}))[1][cell] = table.select(list(OWN_COLUMNS))
    for stem, (images, cells) in files.items():
        for table, end in ((images, IMAGES), (_cells_table(cells), CELLS)):
            pq.write_table(table, folder / f"{stem}{end}", compression="zstd", compression_level=19)
    return sorted(folder / f"{stem}{end}" for stem in files for end in (IMAGES, CELLS))


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
