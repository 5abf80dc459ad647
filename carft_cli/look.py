"""Look at what there is: ls and show."""

from __future__ import annotations

from typing import Annotated

import typer

from carft.core.commands import typed
from carft.core.errors import UserError, unknown
from carft_cli.console import labelled, metrics_table, out, print_json, print_rows
from carft_cli.options import AsJson, Results, existing

#: the folder in which `show` proposes to make a cell again: a fresh one, or nothing would be run
AGAIN = "again"


def ls(
    kind: Annotated[str, typer.Argument(help="tasks, methods, cells or studies.")],
    stale: Annotated[
        bool, typer.Option("--stale", help="Of cells: those that are of older code or other data, and why.")
    ] = False,
    results: Results = "results",
    as_json: AsJson = False,
) -> None:
    """List what there is.

    Example: `python cli.py ls tasks`
    """
    from carft.store.listing import LISTINGS, list_stale
    from carft.store.mirror import open_store

    if kind not in LISTINGS:
        raise unknown("listing", kind, LISTINGS)
    if stale and kind != "cells":
        raise UserError(f"--stale is for cells, not for {kind}.", typed("ls", "cells", "--stale", results=results))
    rows = list_stale(open_store(results)) if stale else LISTINGS[kind](open_store(results))
    if as_json:
        return print_json(rows)
    print_rows(labelled(rows), "nothing is stale" if stale else "nothing yet")


def show(
    cell: Annotated[str, typer.Argument(help="Id of a finished cell, or its beginning.")],
    results: Results = "results",
    as_json: AsJson = False,
) -> None:
    """Show a cell: its specification, its metrics and the exact command that makes it again.

    Example: `python cli.py show 3fa4`
    """
    from carft.spec.resolve import command

    store = existing(results)
    record = store.read(store.resolve(cell))
    metrics = store.metrics(record.id)
    # a post-hoc cell needs its parent's records; any other is made again in a folder of its own
    folder = str(results) if record.cell.parents else AGAIN
    again = command(record.cell, folder, unseal=bool(store.evaluated(record.id)), catalog=store.catalog)
    if as_json:
        spec = record.cell.as_dict()
        return print_json(
            {"cell": record.id, "spec": spec, "metrics": metrics, "command": again, "provenance": record.provenance}
        )
    out.print(f"Cell {record.id}", style="bold", highlight=False)
    out.print_json(data=record.cell.as_dict())
    out.print(metrics_table(metrics))
    out.print("Make it again:", style="bold")
    out.print(again, soft_wrap=True)
