"""The command line: parse, call, print. Heavy imports happen inside the commands, so --help answers at once."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from carft.console import AsJson, Results, err, out, print_json, rows_table, split
from carft.errors import Diverged, Refusal, unknown
from reports.commands import report, rescore

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    help="Does CAR-FT's claim hold, on this model, this data and this budget, and what does each number rest on?",
)
icons = typer.Typer(no_args_is_help=True, help="The built-in world: look at it, make its weights or its census again.")
app.add_typer(icons, name="icons")
app.add_typer(report, name="report")
app.command()(rescore)

#: the folder in which `show` proposes to make a cell again: a fresh one, or nothing would be run
AGAIN = "again"


@app.command()
def train(
    task: Annotated[str, typer.Option(help="Name of the task; see: ls tasks")],
    method: Annotated[str, typer.Option(help="Name of the method; see: ls methods")],
    lr: Annotated[float | None, typer.Option(help="Peak learning rate.")] = None,
    kl_weight: Annotated[float | None, typer.Option(help="Weight of CAR-FT's KL term; 0 is plain ft.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Order and augmentation of the images.")] = 0,
    epochs: Annotated[int | None, typer.Option(help="Passes over the training set.")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Global batch size, whatever the number of workers.")] = None,
    weight_decay: Annotated[float | None, typer.Option(help="AdamW's weight decay.")] = None,
    warmup: Annotated[float | None, typer.Option(help="Share of the steps with rising learning rate.")] = None,
    clip: Annotated[float | None, typer.Option(help="Largest global gradient norm.")] = None,
    crop: Annotated[float | None, typer.Option(help="Smallest area share of a training crop.")] = None,
    kl_direction: Annotated[str | None, typer.Option(help="A reading of the paper; see docs/method.md.")] = None,
    context_temperature: Annotated[float | None, typer.Option(help="A reading: tau of the context softmax.")] = None,
    model: Annotated[str | None, typer.Option(help="An open_clip model; default: the task card's.")] = None,
    pretrained: Annotated[str | None, typer.Option(help="A tag or a weights file; default: the task card's.")] = None,
    workers: Annotated[int, typer.Option(min=1, help="Processes; above 1 through Ray Train.")] = 1,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    unseal: Annotated[bool, typer.Option("--unseal", help="Also evaluate on test set and suites.")] = False,
    keep_weights: Annotated[bool, typer.Option("--keep-weights", help="Keep the trained weights.")] = False,
    results: Results = Path("results"),
    as_json: AsJson = False,
) -> None:
    """Run one cell, without Ray unless --workers is above 1. A finished cell is not run again.

    Example: `python cli.py train --task icons/transport --method car_ft --lr 3e-4 --kl-weight 1`
    """
    from carft.cell import Reading, Training
    from carft.specify import specify

    hyperparameters = _given(lr=lr, kl_weight=kl_weight)
    recipe = {"weight_decay": weight_decay, "warmup": warmup, "clip": clip, "crop": crop}
    training = Training(**_given(epochs=epochs, batch_size=batch_size, **recipe))
    reading = Reading(**_given(kl_direction=kl_direction, context_temperature=context_temperature))
    cell = specify(task, method, hyperparameters, seed, training, reading, model, pretrained)
    store = _writable(results)
    _say_setting([task], cell.model, cell.pretrained)

    from carft.execution import Execution
    from carft.run import check_runnable, run_cell

    check_runnable(cell)
    execution = Execution.here(device=device)
    fresh = not store.is_current(cell.id)
    if workers > 1 and fresh and cell.hyperparameters:
        _train_on_workers(cell, results, workers, execution.device == "cuda", unseal or keep_weights)
    outcome = run_cell(cell, store, execution, unseal, keep_weights, tell=lambda line: err.print(line, style="dim"))
    status = "done" if fresh else "reused"
    if as_json:
        print_json({"cell": outcome.cell, "status": status, "metrics": dict(outcome.metrics)})
        return
    out.print(f"Cell {outcome.cell}: {'done' if fresh else 'was already done, nothing was run'}.")
    out.print(_metrics_table(outcome.metrics))


def _train_on_workers(cell: Any, results: Path, workers: int, gpu: bool, keep_weights: bool) -> None:
    import ray

    from sweeps.cluster import Request, connect
    from sweeps.distributed import train_cell

    request = Request(gpus=workers if gpu else 0, workers_per_cell=workers)
    request.check()
    connect(request)
    try:
        train_cell(cell, str(results.resolve()), request.placement, keep_weights)
    finally:
        ray.shutdown()


@app.command()
def interpolate(
    cell: Annotated[str, typer.Option(help="Id, or its beginning, of a finished fine-tuned cell.")],
    results: Results = Path("results"),
    as_json: AsJson = False,
) -> None:
    """WiSE-FT: the whole curve between the pretrained model and a finished cell, evaluated on every set.

    Example: `python cli.py interpolate --cell 3fa4`
    """
    from carft.execution import Execution
    from carft.records import Store
    from carft.run import run_curve

    store = Store(results)
    store.require_present()
    outcomes = run_curve(store.read(store.resolve(cell)).cell, store, Execution.here())
    if as_json:
        print_json([{"cell": o.cell, "status": o.status, "metrics": dict(o.metrics)} for o in outcomes])
        return
    table = Table("alpha", "cell", "val/top1", "test/top1", "ood/mean/top1")
    for outcome in outcomes:
        alpha = store.read(outcome.cell).cell.hyperparameters["alpha"]
        scores = [_percent(outcome.metrics.get(k)) for k in ("val/top1", "test/top1", "ood/mean/top1")]
        table.add_row(f"{alpha:g}", outcome.cell, *scores)
    out.print(table)


@app.command()
def sweep(
    recipe: Annotated[str, typer.Argument(help="Name of the recipe, such as downstream.")],
    tasks: Annotated[str | None, typer.Option(help="Comma-separated; default: the recipe's.")] = None,
    methods: Annotated[str | None, typer.Option(help="Comma-separated; default: the recipe's.")] = None,
    trials: Annotated[int | None, typer.Option(help="Search trials of every trained method on every task.")] = None,
    seeds: Annotated[int | None, typer.Option(help="Confirm seeds.")] = None,
    gpus: Annotated[int, typer.Option(help="GPUs for the whole sweep; 0 runs on CPU cores.")] = 0,
    workers_per_cell: Annotated[int, typer.Option(help="Workers of each cell; above 1 through Ray Train.")] = 1,
    address: Annotated[str | None, typer.Option(help="host:port or ray://host:port of a running cluster.")] = None,
    results: Results = Path("results"),
    smoke: Annotated[bool, typer.Option("--smoke", help="As small as it can be: does everything run?")] = False,
    as_json: AsJson = False,
) -> None:
    """Search, select on validation, confirm with fresh seeds, unseal. Runs only what is missing.

    Example: `python cli.py sweep downstream --gpus 8`
    """
    from sweeps.cluster import Request
    from sweeps.recipes import load_recipe

    chosen = load_recipe(recipe)
    chosen = (chosen.smoked() if smoke else chosen).changed(split(tasks), split(methods), trials, seeds)
    request = Request(gpus, workers_per_cell, address)
    request.check()
    store = _writable(results)
    from carft.data.catalog import card

    first = card(chosen.tasks[0])
    _say_setting(chosen.tasks, first.model, first.pretrained)

    from sweeps.board import Board, winners_table
    from sweeps.launch import run_sweep

    board = Board(err)
    try:
        protocol, summary = run_sweep(chosen, store, request, board.watch)
    finally:
        board.close()
    if as_json:
        counts = ("cells_done", "cells_failed", "cells_reused", "wall_s")
        print_json({name: getattr(summary, name) for name in counts})
    else:
        out.print(winners_table(protocol))
        out.print(
            f"{summary.cells_done} cells done, {summary.cells_reused} found done, {summary.cells_failed} failed, "
            f"{summary.wall_s:.0f} s. Records: {results}"
        )
        for key, reason in protocol.failed.items():
            out.print(f"failed: {key}: {reason}")
        if summary.stopped:
            out.print("Stopped. Finished cells are kept; the same command goes on where it stopped.")
        again = shlex.join(["python", "cli.py", *sys.argv[1:]])
        nothing_left = not (summary.stopped or summary.cells_failed)
        out.print(f"Next: {f'python cli.py report --results {results}' if nothing_left else again}", soft_wrap=True)
    if summary.stopped:
        raise SystemExit(130)
    if summary.cells_failed:
        raise SystemExit(1)


@app.command()
def ls(
    kind: Annotated[str, typer.Argument(help="tasks, methods, cells or studies.")],
    results: Results = Path("results"),
    as_json: AsJson = False,
) -> None:
    """List what there is.

    Example: `python cli.py ls tasks`
    """
    from carft.listing import LISTINGS
    from carft.records import Store

    if kind not in LISTINGS:
        raise unknown("listing", kind, LISTINGS)
    rows = LISTINGS[kind](Store(results))
    if as_json:
        print_json(rows)
        return
    out.print(rows_table(rows, "nothing yet"))


@app.command()
def show(
    cell: Annotated[str, typer.Argument(help="Id of a finished cell, or its beginning.")],
    results: Results = Path("results"),
    as_json: AsJson = False,
) -> None:
    """Show a cell: its specification, its metrics and the exact command that makes it again.

    Example: `python cli.py show 3fa4`
    """
    from carft.records import Store
    from carft.specify import command

    store = Store(results)
    store.require_present()
    record = store.read(store.resolve(cell))
    metrics = store.metrics(record.id)
    # a post-hoc cell needs its parent's records; any other is made again in a folder of its own
    folder = str(results) if record.cell.parents else AGAIN
    again = command(record.cell, folder, unseal=bool(store.evaluated(record.id)))
    if as_json:
        spec = record.cell.as_dict()
        print_json(
            {"cell": record.id, "spec": spec, "metrics": metrics, "command": again, "provenance": record.provenance}
        )
        return
    out.print(f"[bold]Cell {record.id}[/bold]")
    out.print_json(data=record.cell.as_dict())
    out.print(_metrics_table(metrics))
    out.print("Make it again:", style="bold")
    out.print(again, soft_wrap=True)


@icons.command()
def preview(path: Annotated[Path, typer.Option("--out", help="The PNG to write.")] = Path("icons.png")) -> None:
    """Draw a contact sheet: classes x contexts.

    Example: `python cli.py icons preview --out icons.png`
    """
    from carft.data.icons.preview import contact_sheet

    _require_file(path, ".png")
    contact_sheet().save(path)
    out.print(f"Open: {path.resolve()}", soft_wrap=True)


@icons.command()
def pretrain(
    folder: Annotated[Path, typer.Option("--out", help="Where checkpoints and weights go.")] = Path("pretraining"),
    epochs: Annotated[int | None, typer.Option(min=1, help="Default: the shipped weights' recipe.")] = None,
    threads: Annotated[int, typer.Option(min=1, help="Compute threads; the shipped weights used 2.")] = 2,
) -> None:
    """Make the built-in weights again: resumable, then the zero-shot table. About 20 minutes on two idle cores.

    Example: `python cli.py icons pretrain --out pretraining`
    """
    import torch

    from carft.data.icons.pretraining import Recipe, pretrain_and_measure

    torch.set_num_threads(threads)
    recipe = Recipe(**_given(epochs=epochs))
    path, rows = pretrain_and_measure(recipe, folder, tell=lambda line: err.print(line, style="dim"))
    table = Table("context", "zero-shot class", "zero-shot context")
    for name, row in rows.items():
        table.add_row(name, _percent(row["class"]), _percent(row["context"]))
    out.print(table)
    out.print(f"Weights: {path.resolve()}", soft_wrap=True)


@icons.command()
def census(path: Annotated[Path, typer.Option("--out", help="The CSV to write.")] = Path("drawings.csv")) -> None:
    """Build the table of drawings, classes and splits again from the fonts.

    Example: `python cli.py icons census --out drawings.csv`
    """
    from carft.data.icons.drawings import build_census

    _require_file(path, ".csv")
    build_census().to_csv(path, index=False)
    out.print(f"Written: {path.resolve()}", soft_wrap=True)


def _require_file(path: Path, suffix: str) -> None:
    if path.suffix != suffix or not path.parent.is_dir():
        raise Refusal(f"'{path}' cannot be written here.", f"Give --out a {suffix} file in a folder that exists.")


def _given(**values: Any) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


def _writable(results: Path) -> Any:
    from carft.records import Store

    store = Store(results)
    store.require_writable()
    return store


def _say_setting(tasks: list[str], model: str, pretrained: str) -> None:
    from carft.data.catalog import card

    scale = card(tasks[0]).scale
    named = tasks[0] if len(tasks) == 1 else f"{len(tasks)} tasks of {tasks[0].split('/')[0]}"
    world = "the built-in icons world" if tasks[0].startswith("icons/") else "data of your own"
    err.print(f"Data: {named} ({world}). Model: {model}, weights '{pretrained}'. Scale: {scale}.", soft_wrap=True)
    for warning in (w for task in tasks for w in card(task).warnings()):
        err.print(f"Warning: {warning}", soft_wrap=True)


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f}"


def _metrics_table(metrics: Any) -> Table:
    table = Table("metric", "value")
    for name, value in metrics.items():
        table.add_row(name, f"{value:.4f}")
    return table


def main() -> None:
    """The console script: a refusal is one sentence and exit code 2, a failed cell exit code 1."""
    try:
        app()
    except Refusal as refusal:
        err.print(f"[bold red]Refused:[/bold red] {refusal.message}", soft_wrap=True, highlight=False)
        if refusal.hint:
            err.print(refusal.hint, soft_wrap=True, highlight=False)
        raise SystemExit(2) from None
    except Diverged as failure:
        err.print(f"[bold red]The cell failed:[/bold red] {failure}.", soft_wrap=True, highlight=False)
        raise SystemExit(1) from None


if __name__ == "__main__":
    main()
