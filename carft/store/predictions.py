"""Predictions as Parquet: one row for each image, with all logits, or the largest logits of a large set."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from carft.core.errors import CorruptFile
from carft.core.metrics import Largest, Outcomes, Predictions

#: bytes of logits above which only the largest logits of each image are written
WHOLE_UP_TO = 64 * 2**20
#: key of the file's metadata that lists the scored classes
SUBSET = b"carft:subset"


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


def has_logits(table: pa.Table) -> bool:
    """Whether a table of predictions holds logits, of all classes or the largest."""
    return "context_logits" in table.column_names


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
