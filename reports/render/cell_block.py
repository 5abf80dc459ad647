"""The cells of a folder as a block of JSON for the script of the page. Values that repeat are stored once."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping
from typing import Any, TypeVar

from carft.spec.cell import PROTOCOL, Cell
from carft.spec.weights import display_form
from reports.evidence.evidence import Evidence
from reports.figures.style import label
from reports.render.formatting import points
from reports.tables.registry import Tables
from reports.tables.rows import rows_of

Value = TypeVar("Value", bound=Hashable)

CELL_COLUMNS = (
    *(("cell", False), ("task", False), ("method", False), ("hyperparameters", False), ("seed", True)),
    *(("role", False), ("val", True), ("ID test", True), ("mean OOD", True), ("caution", False)),
)


def cell_block(sources: Tables) -> dict[str, Any]:
    """The JSON block of all cells: rows of the table and their details. Repeated values are stored once."""
    evidence, seal = sources.evidence, sources.unsealings
    settings: dict[str, int] = {}
    makers: dict[str, int] = {}
    names: dict[str, int] = {}
    rows, details = [], []
    for row in rows_of(sources.table("cells")):
        record = evidence.records[row["cell"]]
        metrics = evidence.metrics(record.id) if record.id in seal.openings else record.metrics
        shown_metrics = [points(metrics.get(name), sign=False) for name in ("val/top1", "test/top1", "ood/mean/top1")]
        method = _named_method(record.cell, evidence)
        what = (row["cell"], row["task"], method, row["hyperparameters"], str(row["seed"]))
        caution = row.get("caution", "")
        rows.append((*what, seal.roles[record.id], *shown_metrics, caution))
        values = [[place_of(n, names), round(v, 4) if math.isfinite(v) else None] for n, v in metrics.items()]
        setting = place_of(_setting(record.cell.as_dict()), settings)
        maker = place_of(made_by(record.provenance), makers)
        details.append((row["command"], setting, maker, values, record.cell.parents))
    return {
        "columns": CELL_COLUMNS,
        "rows": rows,
        "details": details,
        "settings": list(settings),
        "makers": list(makers),
        "metrics": list(names),
    }


def _named_method(cell: Cell, evidence: Evidence) -> str:
    """The method of a cell; what was made of other cells names their method, as "WiSE-FT of FT"."""
    made_of = {evidence.records[p].cell.method for p in cell.parents if p in evidence.records}
    return label(f"{cell.method}({made_of.pop()})" if len(made_of) == 1 else cell.method)


def place_of(value: Value, places: dict[Value, int]) -> int:
    """The place of a value among distinct ones; a new one is the last."""
    return places.setdefault(value, len(places))


def _setting(spec: Mapping[str, Any]) -> str:
    """The rest of a cell's specification in one line."""
    inner = {**spec["training"], **spec["reading"]}
    training = ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in inner.items())
    model, weights = display_form(spec["model"], spec["pretrained"])
    return f"{model}, weights '{weights}', data {spec['data_version']}, {spec['precision']}; {training}" + "".join(
        f", {name.replace('_', ' ')} {spec[name]}" for name in PROTOCOL if name in spec
    )


def made_by(provenance: Mapping[str, Any]) -> str:
    """Versions and machine of a record in one line."""
    wanted = ("torch", "open_clip_torch", "ray", "optuna")
    packages = ", ".join(f"{k} {v}" for k, v in provenance["packages"].items() if k in wanted)
    execution, attested = provenance["execution"], provenance["digests"].get("attested", "unknown")
    cpu = " with ".join(provenance.get("cpu", {}).values())  # earlier versions did not record it
    where = f"{execution['device']}, {execution['workers']} worker(s)" + (f" on {cpu}" if cpu else "")
    return (
        f"carft {provenance['carft']} (NUMERICS {provenance['numerics']}), Python {provenance['python']}, {packages}; "
        f"{where}; data attested: {attested}"
    )
