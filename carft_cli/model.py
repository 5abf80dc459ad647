"""The pretrained model before training, and a trained one to keep."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import typer
from rich.table import Table

from carft_cli.cell import export
from carft_cli.console import err, new_table, out, percent, print_json
from carft_cli.declare import takes
from carft_cli.options import (
    CellPrecision,
    Data,
    Device,
    DomainOptions,
    ModelOptions,
    OutputOptions,
    Task,
    absolute,
    print_setting,
    writable,
)

model_group = typer.Typer(no_args_is_help=True, help="The pretrained model before training, and a trained one to keep.")


@dataclass(frozen=True)
class CheckSettings:
    """Everything that `model check` is asked for."""

    weights: ModelOptions
    output: OutputOptions
    domains: DomainOptions
    task: Task = "imagenet"
    precision: CellPrecision = "float32"
    device: Device = "auto"
    data: Data = None


@model_group.command()
@takes(CheckSettings)
def check(settings: CheckSettings) -> None:
    """Measure the zero-shot row and the context row, and hold them against what others measured, before any training.

    Example: `python cli.py model check --task imagenet --data ROOT`
    """
    from carft.spec.resolve import specify
    from carft.store.weights_places import keep_places, place_of

    model, pretrained = settings.weights.weights()
    task = settings.domains.chosen(settings.task)
    cell = specify(task, "zeroshot", {}, model=model, pretrained=pretrained, precision=settings.precision)
    store = writable(settings.output.results, [cell.task])
    keep_places(store, place_of(cell))
    print_setting([cell.task], cell.model, cell.pretrained, settings.data)

    from carft.data.catalog import card
    from carft.posthoc.context_check import context_check
    from carft.training.execution import Execution
    from carft.training.run import run_cell
    from reports.evidence.references import zero_shot_check

    execution = Execution(settings.device, data=absolute(settings.data)).on_this_machine()
    run_cell(cell, store, execution, unseal=True)
    rows, contexts = zero_shot_check(store, cell), len(card(cell.task).contexts)
    found = context_check(cell, execution)
    if settings.output.as_json:
        print_json([{**row, "context": {**asdict(found), "words": found.words}} for row in rows])
    else:
        out.print(_sets_table(rows))
        if contexts > 1:
            chance = f"context recognition by chance is {100 / contexts:.1f}"
            out.print(f"Contexts: {contexts} known; {chance}. Near it, fine-tuning has none to lose.", highlight=False)
        out.print(f"Context distribution on validation: {found.words}", soft_wrap=True, highlight=False)
    if any(row["answer"] == "differs" for row in rows):
        err.print("The zero-shot row differs from every reference: correct the pipeline before any training.")
        raise SystemExit(1)


def _sets_table(rows: Sequence[Mapping[str, Any]]) -> Table:
    """One row a held-out set, beside what others measured of one at least. rows: of :func:`zero_shot_check`."""
    compared = any(row["reference"] is not None for row in rows)
    beside = ("others", "difference", "answer") if compared else ()
    table = new_table("set", "images", "top-1", "95 % interval", *beside, "contexts")
    for row in rows:
        interval = f"{100 * row['low']:.1f} to {100 * row['high']:.1f}"
        others = "no reference" if row["reference"] is None else f"{row['reference']:.2f} ({row['confidence']})"
        difference = "-" if row["difference"] is None else f"{row['difference']:+.2f}"
        counts = (str(row["images"]), percent(row["top1"]))
        known = (others, difference, row["answer"]) if compared else ()
        table.add_row(row["set"], *counts, interval, *known, percent(row["context_top1"]))
    return table


model_group.command()(export)
