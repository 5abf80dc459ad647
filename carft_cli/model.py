"""The pretrained model, before any training."""

from __future__ import annotations

from typing import Annotated

import typer

from carft_cli.console import AsJson, Results, err, new_table, out, percent, print_json
from carft_cli.options import (
    Activation,
    Data,
    Model,
    Weights,
    say_setting,
    weights,
    writable,
)

model_group = typer.Typer(no_args_is_help=True, help="The pretrained model, before any training.")


@model_group.command()
def check(
    task: Annotated[str, typer.Option(help="Name of the task; see: ls tasks")] = "imagenet",
    model: Model = None,
    pretrained: Weights = None,
    activation: Activation = None,
    precision: Annotated[str, typer.Option(help="float32 or bfloat16 (autocast).")] = "float32",
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    data: Data = None,
    results: Results = "results",
    as_json: AsJson = False,
) -> None:
    """Measure the zero-shot row and hold it against what others measured, before any training.

    Example: `python cli.py model check --task imagenet --data ROOT`
    """
    from carft.spec.resolve import specify

    model, pretrained = weights(model, pretrained, activation, random_weights=False)
    cell = specify(task, "zeroshot", {}, model=model, pretrained=pretrained, precision=precision)
    store = writable(results)
    say_setting([task], cell.model, cell.pretrained, data)

    from carft.training.execution import Execution
    from carft.training.run import run_cell
    from reports.evidence.references import zero_shot_check

    execution = Execution.here(device, data=None if data is None else str(data.resolve()))
    run_cell(cell, store, execution, unseal=True)
    rows = zero_shot_check(store, cell)
    if as_json:
        print_json(rows)
    else:
        table = new_table("set", "images", "top-1", "95 % interval", "others", "difference", "answer")
        for row in rows:
            interval = f"{100 * row['low']:.1f} to {100 * row['high']:.1f}"
            others = "no reference" if row["reference"] is None else f"{row['reference']:.2f} ({row['confidence']})"
            difference = "-" if row["difference"] is None else f"{row['difference']:+.2f}"
            counts = (str(row["images"]), percent(row["top1"]))
            table.add_row(row["set"], *counts, interval, others, difference, row["answer"])
        out.print(table)
    if any(row["answer"] == "differs" for row in rows):
        err.print("The zero-shot row differs from every reference: mend the pipeline before any training.")
        raise SystemExit(1)
