"""The rows that `ls` prints, as plain values. No torch."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from carft.config.plugins import GROUP
from carft.core.errors import UserError
from carft.core.source import installed
from carft.data.fixtures import is_fixture
from carft.data.sets import DataSet
from carft.store.records import Store

Rows = list[dict[str, Any]]


def list_tasks(store: Store) -> Rows:
    """Tasks of this package and of installed ones."""
    return [
        {"task": c.name, "scale": c.scale, "classes": len(c.classes), "suites": list(c.suites), "version": c.version}
        for c in store.catalog.cards()
    ]


def list_data_sets(chosen: Iterable[DataSet], root: Path | None = None) -> Rows:
    """Data sets. With a data root, ``there`` is ``here``, ``fixture``, ``half here`` (incomplete) or ``-`` (absent)."""
    return [
        {
            "data set": d.name,
            **({"there": _state(d, root)} if root else {}),
            "measures": d.measures,
            "classes": len(d.classes),
            "images": dict(d.counts),
            "place": d.folder,
            "fetch": bool(d.archives),
            "digests": len(d.digests),
            "licence": d.licence,
            "source": d.source,
        }
        for d in chosen
    ]


def _state(data_set: DataSet, root: Path) -> str:
    folder = root / data_set.folder
    if not folder.exists():
        return "-"
    try:
        data_set.require_present(root)
    except UserError:
        return "half here"
    return "fixture" if is_fixture(folder) else "here"


def list_methods(store: Store) -> Rows:
    """Methods of the registry, installed ones included."""
    cards = map(store.catalog.method, dict.fromkeys((*store.catalog.methods, *installed(GROUP))))
    return [{"method": m.name, "kind": m.kind, "tuned": list(m.space), "summary": m.summary} for m in cards]


def list_cells(store: Store) -> Rows:
    """Finished cells of the current NUMERICS."""
    store.require_present()
    return [
        {
            "cell": r.id,
            "task": r.cell.task,
            "method": r.cell.method,
            "hyperparameters": ", ".join(f"{k}={v:.4g}" for k, v in r.cell.hyperparameters.items()),
            "seed": r.cell.seed,
            "val/top1": r.metrics["val/top1"],
            "unsealed": store.is_unsealed(r.id),
        }
        for r in store.records()
    ]


def list_studies(store: Store) -> Rows:
    """Studies with the number of their trials that have ended."""
    store.require_present()
    return [
        {
            "study": s.id,
            "task": s.task,
            "method": s.method,
            "epochs": s.training.epochs,
            "trials": len(s.trials),
            "done": sum(t.status == "done" for t in s.trials),
            "winner": s.winner or "-",
        }
        for s in store.studies()
    ]


LISTINGS: dict[str, Callable[[Store], Rows]] = {
    "tasks": list_tasks,
    "methods": list_methods,
    "cells": list_cells,
    "studies": list_studies,
}
