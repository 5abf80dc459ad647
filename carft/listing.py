"""What `ls` shows, as rows of plain values. No torch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from carft.data.catalog import CARDS, DATA_SETS
from carft.methods import METHODS
from carft.records import Store

Rows = list[dict[str, Any]]


def list_tasks(store: Store) -> Rows:
    """The catalog."""
    return [
        {"task": c.name, "scale": c.scale, "classes": len(c.classes), "suites": list(c.suites), "version": c.version}
        for c in CARDS.values()
    ]


def list_data_sets() -> Rows:
    """The data sets on disk."""
    return [
        {
            "data set": d.name,
            "measures": d.measures,
            "classes": len(d.classes),
            "images": dict(d.counts),
            "place": d.place,
            "fetch": bool(d.archives),
            "digests": len(d.digests),
            "licence": d.licence,
            "source": d.source,
        }
        for d in DATA_SETS.values()
    ]


def list_methods(store: Store) -> Rows:
    """The method registry."""
    return [{"method": m.name, "kind": m.kind, "tuned": list(m.space), "summary": m.summary} for m in METHODS.values()]


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
    """Studies with how far they are."""
    store.require_present()
    return [
        {
            "study": s["id"],
            "task": s["task"],
            "method": s["method"],
            "epochs": s["training"]["epochs"],
            "trials": len(s["trials"]),
            "done": sum(t["status"] == "done" for t in s["trials"]),
            "winner": s["winner"] or "-",
        }
        for s in store.studies()
    ]


LISTINGS: dict[str, Callable[[Store], Rows]] = {
    "tasks": list_tasks,
    "methods": list_methods,
    "cells": list_cells,
    "studies": list_studies,
}
