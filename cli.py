"""The command line: parse, call, print. Heavy imports happen inside the commands, so --help answers at once."""

from __future__ import annotations

import json
import shlex
import sys
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from carft.errors import Diverged, Refusal, unknown

out = Console(width=None if sys.stdout.isatty() else 160)
err = Console(stderr=True)

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    help="Does CAR-FT's claim hold, on this model, this data and this budget, and what does each number rest on?",
)
icons = typer.Typer(no_args_is_help=True, help="The built-in world: look at it, make its weights or its census again.")
app.add_typer(icons, name="icons")
data_app = typer.Typer(no_args_is_help=True, help="Data sets on disk: list, check, download, or draw a tiny fake one.")
app.add_typer(data_app, name="data")

#: the folder in which `show` proposes to make a cell again: a fresh one, or nothing would be run
AGAIN = "again"

Results = Annotated[Path, typer.Option("--results", help="The results folder.")]
Data = Annotated[Path | None, typer.Option("--data", help="The folder that holds the data sets.")]
SkipUnreadable = Annotated[
    bool, typer.Option("--skip-unreadable", help="Leave out images that cannot be decoded, on record.")
]
SetName = Annotated[str, typer.Argument(help="A data set, or a task, whose sets are then all meant; see: data ls")]
Root = Annotated[Path, typer.Option("--root", help="The folder that holds the data sets.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON on stdout, nothing else.")]


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
    set_: Annotated[list[str], typer.Option("--set", help="NAME=VALUE of any other hyperparameter.")] = [],  # noqa: B006
    kl_direction: Annotated[str | None, typer.Option(help="A reading of the paper; see docs/method.md.")] = None,
    context_temperature: Annotated[float | None, typer.Option(help="A reading: tau of the context softmax.")] = None,
    context_scale: Annotated[str | None, typer.Option(help="A reading: pretrained, or one (raw cosine).")] = None,
    context_templates: Annotated[str | None, typer.Option(help="A reading: a template bank of the task.")] = None,
    class_head: Annotated[str | None, typer.Option(help="A reading: trained, scale-outside, frozen, random.")] = None,
    precision: Annotated[str, typer.Option(help="float32 or bfloat16 (autocast).")] = "float32",
    model: Annotated[str | None, typer.Option(help="An open_clip model; default: the task card's.")] = None,
    pretrained: Annotated[str | None, typer.Option(help="A tag or a weights file; default: the task card's.")] = None,
    workers: Annotated[int, typer.Option(min=1, help="Processes; above 1 through Ray Train.")] = 1,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    accumulation: Annotated[int, typer.Option(min=1, help="Parts that a worker's batch is computed in.")] = 1,
    compile_: Annotated[bool, typer.Option("--compile", help="Through torch.compile.")] = False,
    checkpoint_every: Annotated[int, typer.Option(min=0, help="Steps between checkpoints; 0: none.")] = 0,
    data: Data = None,
    skip_unreadable: SkipUnreadable = False,
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

    hyperparameters = {**_given(lr=lr, kl_weight=kl_weight), **_numbers(set_)}
    recipe = {"weight_decay": weight_decay, "warmup": warmup, "clip": clip, "crop": crop}
    training = Training(**_given(epochs=epochs, batch_size=batch_size, **recipe))
    context = {"temperature": context_temperature, "scale": context_scale, "templates": context_templates}
    factors = {f"context_{name}": value for name, value in context.items()}
    reading = Reading(**_given(kl_direction=kl_direction, class_head=class_head, **factors))
    cell = specify(task, method, hyperparameters, seed, training, reading, model, pretrained, precision)
    store = _writable(results)
    _say_setting([task], cell.model, cell.pretrained, reading.context_templates)

    from carft.execution import Execution
    from carft.run import check_execution, check_runnable, run_cell

    check_runnable(cell)
    execution = Execution.here(
        device=device,
        accumulation=accumulation,
        compile=compile_,
        data=None if data is None else str(data.resolve()),
        checkpoint_every=checkpoint_every,
        skip_unreadable=skip_unreadable,
    )
    check_execution(cell, replace(execution, workers=workers))
    fresh = not store.is_current(cell.id)
    if workers > 1 and fresh and cell.hyperparameters:
        _train_on_workers(cell, results, replace(execution, workers=workers), unseal or keep_weights)
    outcome = run_cell(cell, store, execution, unseal, keep_weights, tell=lambda line: err.print(line, style="dim"))
    status = "done" if fresh else "reused"
    if as_json:
        _print_json({"cell": outcome.cell, "status": status, "metrics": dict(outcome.metrics)})
        return
    out.print(f"Cell {outcome.cell}: {'done' if fresh else 'was already done, nothing was run'}.")
    out.print(_metrics_table(outcome.metrics))


def _train_on_workers(cell: Any, results: Path, execution: Any, keep_weights: bool) -> None:
    import ray

    from sweeps.cluster import Request, connect
    from sweeps.distributed import train_cell

    request = Request(gpus=execution.workers if execution.device == "cuda" else 0, workers_per_cell=execution.workers)
    request.check()
    connect(request)
    try:
        train_cell(cell, str(results.resolve()), execution, keep_weights)
    finally:
        ray.shutdown()


@app.command()
def interpolate(
    cell: Annotated[str, typer.Option(help="Id, or its beginning, of a finished fine-tuned cell.")],
    data: Data = None,
    results: Results = Path("results"),
    as_json: AsJson = False,
) -> None:
    """WiSE-FT: the whole curve between the pretrained model and a finished cell, evaluated on every set.

    Example: `python cli.py interpolate --cell 3fa4`
    """
    from carft.execution import Execution
    from carft.interpolating import run_curve
    from carft.records import Store

    store = Store(results)
    store.require_present()
    execution = Execution.here(data=None if data is None else str(data.resolve()))
    outcomes = run_curve(store.read(store.resolve(cell)).cell, store, execution)
    if as_json:
        _print_json([{"cell": o.cell, "status": o.status, "metrics": dict(o.metrics)} for o in outcomes])
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
    chosen = (chosen.smoked() if smoke else chosen).changed(_split(tasks), _split(methods), trials, seeds)
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
        _print_json({name: getattr(summary, name) for name in counts})
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
def report(
    results: Results = Path("results"),
    out_dir: Annotated[Path, typer.Option("--out", help="Where the report is written.")] = Path("report"),
    as_json: AsJson = False,
) -> None:
    """Turn records into verdicts, tables, figures and one self-contained page.

    Example: `python cli.py report --results results --out report`
    """
    from carft.records import Store
    from reports.build import build_report
    from reports.page import points

    store = Store(results)
    store.require_present()
    built = build_report(store, out_dir)
    if as_json:
        _print_json({"paths": [str(p) for p in built.paths], "verdicts": [v.as_dict() for v in built.verdicts]})
        return
    table = Table("claim", "verdict", "contrast", "points", "95 % interval", "n", box=None)
    for v in built.verdicts:
        interval, effect = f"{points(v.low)} to {points(v.high)}", points(v.effect)
        table.add_row(
            v.claim,
            v.verdict,
            v.headline,
            effect,
            interval,
            f"{v.n_tasks} tasks, {v.n_seeds} seeds, {v.n_groups} groups",
        )
    out.print(table)
    out.print(f"Scale: {built.verdicts[0].scale}")
    out.print(f"Open: {built.page.resolve()}", soft_wrap=True)


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
        _print_json(rows)
        return
    table = Table(*rows[0], box=None) if rows else Table("nothing yet", box=None)
    for row in rows:
        table.add_row(*(_cell_text(value) for value in row.values()))
    out.print(table)


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
        _print_json(
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


@data_app.command("ls")
def data_ls(as_json: AsJson = False) -> None:
    """List the data sets: what each measures, how large it is, where it goes.

    Example: `python cli.py data ls`
    """
    from carft.listing import list_data_sets

    rows = list_data_sets()
    if as_json:
        _print_json(rows)
        return
    shown = ("data set", "measures", "classes", "images", "place", "fetch")
    table = Table(*shown, box=None)
    for row in rows:
        images = ", ".join(f"{split} {count:,}" for split, count in row["images"].items())
        table.add_row(*(_cell_text({**row, "images": images}[name]) for name in shown))
    out.print(table)
    out.print("Licences and sources: --json, and docs/data.md")


@data_app.command("check")
def data_check(name: SetName, root: Root, as_json: AsJson = False) -> None:
    """Read every image and compare with the catalog: counts, classes, digests. Exit code 1 when something differs.

    Example: `python cli.py data check pets --root data`
    """
    from carft.data.catalog import data_sets

    chosen = _some(name, data_sets(name))
    for data_set in chosen:
        data_set.require_present(root)

    from carft.data.checking import check

    found = [check(data_set, root) for data_set in chosen]
    if as_json:
        _print_json([one.as_dict() for one in found])
    else:
        for one in found:
            counts = ", ".join(f"{split} {count:,}" for split, count in one.counts.items())
            out.print(f"{one.data_set}: [bold]{one.status}[/bold]. {counts}. {one.meaning}", soft_wrap=True)
            for problem in one.problems:
                out.print(f"  {problem}", soft_wrap=True, highlight=False, markup=False)
            for file, reason in one.unreadable.items():
                out.print(f"  {file}: {reason}", soft_wrap=True, highlight=False, markup=False)
    if any(one.status == "failed" for one in found):
        raise SystemExit(1)


@data_app.command("fetch")
def data_fetch(name: SetName, root: Root, as_json: AsJson = False) -> None:
    """Download what torchvision may download; say where the rest is to be had.

    Example: `python cli.py data fetch dtd --root data`
    """
    from carft.data.catalog import data_sets
    from carft.data.fetching import fetch

    rows = []
    for data_set in _some(name, data_sets(name)):
        new = fetch(data_set, root, tell=lambda line: err.print(line, style="dim", soft_wrap=True))
        rows.append({"data set": data_set.name, "status": "fetched" if new else "present"})
    if as_json:
        _print_json(rows)
        return
    for row in rows:
        out.print(f"{row['data set']}: {'downloaded' if row['status'] == 'fetched' else 'was here already'}.")
    out.print(f"Next: python cli.py data check {name} --root {root}", soft_wrap=True)


@data_app.command("fixture")
def data_fixture(name: SetName, root: Root, as_json: AsJson = False) -> None:
    """Draw a tiny fake tree in the set's real layout, marked as fake: to try everything before the data are here.

    Example: `python cli.py data fixture pets --root fixtures`
    """
    from carft.data.catalog import data_sets

    chosen = _some(name, data_sets(name))
    for data_set in chosen:
        data_set.fixture(root)
    if as_json:
        _print_json([{"data set": d.name, "place": str(root / d.place)} for d in chosen])
        return
    for data_set in chosen:
        out.print(f"{data_set.name}: a fixture, no real image, in {root / data_set.place}", soft_wrap=True)


def _some(name: str, data_sets: list[Any]) -> list[Any]:
    if not data_sets:
        raise Refusal(f"The task {name} needs no data set on disk.", "Known data sets: python cli.py data ls")
    return data_sets


def _require_file(path: Path, suffix: str) -> None:
    if path.suffix != suffix or not path.parent.is_dir():
        raise Refusal(f"'{path}' cannot be written here.", f"Give --out a {suffix} file in a folder that exists.")


def _given(**values: Any) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


def _numbers(pairs: list[str]) -> dict[str, float]:
    """NAME=VALUE options as numbers."""
    values = {}
    for pair in pairs:
        name, equals, text = pair.partition("=")
        try:
            values[name.strip()] = float(text)
        except ValueError:
            equals = ""
        if not equals:
            raise Refusal(f"--set {pair} is not a hyperparameter with a number.", "Write it as --set l2_weight=0.1")
    return values


def _split(text: str | None) -> list[str] | None:
    if text is None:
        return None
    return list(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))


def _writable(results: Path) -> Any:
    from carft.records import Store

    store = Store(results)
    store.require_writable()
    return store


def _say_setting(tasks: list[str], model: str, pretrained: str, bank: str = "standard") -> None:
    from carft.data.catalog import card

    scale = card(tasks[0]).scale
    named = tasks[0] if len(tasks) == 1 else f"{len(tasks)} tasks: {', '.join(tasks[:3])}, ..."
    world = "the built-in icons world" if tasks[0].startswith("icons/") else "data on this machine"
    err.print(f"Data: {named} ({world}). Model: {model}, weights '{pretrained}'. Scale: {scale}.", soft_wrap=True)
    for warning in (w for task in tasks for w in card(task).warnings(bank)):
        err.print(f"Warning: {warning}", soft_wrap=True)


def _print_json(value: Any) -> None:
    sys.stdout.write(json.dumps(value, indent=1, allow_nan=False) + "\n")


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f}"


def _cell_text(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


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
