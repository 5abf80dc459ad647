"""The command line: parse, call, print. Heavy imports happen inside the commands, so --help answers at once."""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
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
report = typer.Typer(help="Verdicts, tables, figures and one page; check them, explain them, compare them.")
app.add_typer(report, name="report")

#: the folder in which `show` proposes to make a cell again: a fresh one, or nothing would be run
AGAIN = "again"
#: differences that are printed of one check; --json has all
FEW = 20
METRICS_HELP = "Comma-separated: top1, top5, mean_per_class, worst_class, loss, ece, context_top1."

Results = Annotated[Path, typer.Option("--results", help="The results folder.")]
ReportFolder = Annotated[Path, typer.Option("--out", help="The report folder.")]
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
        _print_json({"cell": outcome.cell, "status": status, "metrics": dict(outcome.metrics)})
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


@report.callback(invoke_without_command=True)
def build(
    context: typer.Context,
    results: Results = Path("results"),
    out_dir: ReportFolder = Path("report"),
    as_json: AsJson = False,
) -> None:
    """Turn records into verdicts, tables, figures and one self-contained page; or check, explain, compare them.

    Example: `python cli.py report --results results --out report`
    """
    if context.invoked_subcommand is not None:
        sources = {name: context.get_parameter_source(name) for name in context.params}
        for name in (name for name, source in sources.items() if source and source.name != "DEFAULT"):
            raise Refusal(
                f"An option stands before '{context.invoked_subcommand}', which would not see it.",
                f"Write: python cli.py report {context.invoked_subcommand} --{name.removesuffix('_dir')} ...",
            )
        return
    from carft.records import Store
    from reports.build import build_report
    from reports.shown import points

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


@report.command()
def verify(
    out_dir: ReportFolder = Path("report"),
    results: Results = Path("results"),
    as_json: AsJson = False,
) -> None:
    """Make every number of a report again from raw predictions and name what differs. Exit code 0 or 1.

    Example: `python cli.py report verify --out report --results results`
    """
    from carft.records import Store
    from reports.verify import verify as check_report

    found = check_report(Store(results), out_dir)
    if as_json:
        checks = [{"check": c.name, "compared": c.compared, "differences": list(c.differences)} for c in found.checks]
        notes, fingerprint = list(found.notes), found.fingerprint
        _print_json({"holds": found.holds, "checks": checks, "notes": notes, "fingerprint": fingerprint})
    else:
        for c in found.checks:
            state = "differs" if c.differences else "same"
            out.print(f"{state:8}{c.name} ({c.compared:,} compared)", highlight=False)
            for line in c.differences[:FEW]:
                out.print(f"          {line}", soft_wrap=True, markup=False, highlight=False)
            if len(c.differences) > FEW:
                out.print(f"          and {len(c.differences) - FEW} more; all with --json", highlight=False)
        for note in found.notes:
            out.print(note, style="dim", soft_wrap=True, highlight=False)
        out.print(f"Fingerprint of the records: {found.fingerprint}", soft_wrap=True, highlight=False)
        out.print("Every number holds." if found.holds else "This report is not what these records give.")
    if not found.holds:
        raise SystemExit(1)


@report.command()
def why(
    address: Annotated[str, typer.Argument(help="A claim such as C3, or TABLE.ROW.COLUMN.")],
    results: Results = Path("results"),
    as_json: AsJson = False,
) -> None:
    """Where a number comes from: its formula, the cells behind it, and the command that makes each again.

    Example: `python cli.py report why tasks.icons/transport/car_ft.test_top1`
    """
    from carft.records import Store
    from reports.why import explain

    store = Store(results)
    store.require_present()
    chain = explain(store, address)
    if as_json:
        _print_json(chain.as_dict())
        return
    out.print(f"[bold]{chain.address}[/bold]", highlight=False)
    for name, text in chain.facts:
        out.print(f"  {name}: {text}", soft_wrap=True, markup=False, highlight=False)
    for title, rows in chain.tables.items():
        out.print(f"\n{title}", style="bold", highlight=False)
        out.print(_rows_table(rows))
    out.print(f"\nThe {len(chain.cells)} cells, made again by:", style="bold", highlight=False)
    for cell in chain.cells:
        out.print(f"{cell['cell']}  {cell['command']}", soft_wrap=True, markup=False, highlight=False)


@report.command()
def diff(
    first: Annotated[Path, typer.Argument(help="A results folder.")],
    second: Annotated[Path, typer.Argument(help="Another: a new version, machine or lab.")],
    as_json: AsJson = False,
) -> None:
    """What moved between two results folders, and whether it moved more than noise would move it.

    Example: `python cli.py report diff results other-results`
    """
    from carft.records import Store
    from reports.diff import compare

    stores = Store(first), Store(second)
    for store in stores:
        store.require_present()
    found = compare(*stores)
    if as_json:
        _print_json(found.as_dict())
        return
    out.print(_rows_table(found.claims))
    for line in found.words:
        out.print(line, soft_wrap=True, markup=False, highlight=False)


@app.command()
def rescore(
    results: Results = Path("results"),
    tasks: Annotated[str | None, typer.Option(help="Comma-separated; default: all with finished cells.")] = None,
    sets: Annotated[str | None, typer.Option(help="Comma-separated: val, test, ood/SUITE; default: all.")] = None,
    classes: Annotated[
        str | None, typer.Option(help="Class names, comma-separated, or a file with one a line.")
    ] = None,
    images: Annotated[str | None, typer.Option(help="Pattern of image or group names, or a file, one a line.")] = None,
    metrics: Annotated[str, typer.Option(help=METRICS_HELP)] = "top1,mean_per_class",
    out_dir: Annotated[Path, typer.Option("--out", help="Where the re-scored tables go.")] = Path("rescored"),
    as_json: AsJson = False,
) -> None:
    """Score stored predictions again under another class list, on other images, by other metrics. Needs no GPU.

    Example: `python cli.py rescore --tasks icons/transport --sets test --images "*lucide*" --metrics top1,ece`
    """
    from carft.records import Store
    from reports.rescore import Request, rescore_to

    store = Store(results)
    store.require_present()
    request = Request.of(_split(tasks), _split(sets), classes, images, _split(metrics))
    found = rescore_to(store, request, out_dir)
    if as_json:
        _print_json({"paths": [str(p) for p in found.paths], "changed": found.changed, "rows": found.summary})
        return
    out.print(_rows_table(found.summary))
    out.print(f"Re-scored: {found.changed}", soft_wrap=True, markup=False, highlight=False)
    out.print(f"Written: {', '.join(map(str, found.paths))}", soft_wrap=True)


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


def _require_file(path: Path, suffix: str) -> None:
    if path.suffix != suffix or not path.parent.is_dir():
        raise Refusal(f"'{path}' cannot be written here.", f"Give --out a {suffix} file in a folder that exists.")


def _given(**values: Any) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


def _split(text: str | None) -> list[str] | None:
    if text is None:
        return None
    return list(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))


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


def _print_json(value: Any) -> None:
    sys.stdout.write(json.dumps(value, indent=1, allow_nan=False) + "\n")


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f}"


def _cell_text(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _rows_table(rows: Any) -> Table:
    table = Table(*(rows[0] if rows else ("nothing",)), box=None)
    for row in rows:
        table.add_row(*(escape(_cell_text(value)) for value in row.values()))
    return table


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
