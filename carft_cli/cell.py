"""One cell: train it, interpolate it, make a soup of several, export it."""

from __future__ import annotations

import signal
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from carft.config.cell import Cell, Reading, Training
from carft_cli.console import err, metrics_table, new_table, out, percent, print_json, split
from carft_cli.declare import MORE_RUN, OUTPUT, RUN, WHERE, Options, option, takes
from carft_cli.options import (
    AsJson,
    Data,
    Device,
    ExecutionOptions,
    ModelOptions,
    PluginOptions,
    Results,
    Task,
    TasksFile,
    execution_here,
    existing,
    given,
    numbers,
    print_run_header,
    task_of_file,
    writable,
)

if TYPE_CHECKING:
    from carft.config.catalog import Catalog
    from carft.store.records import Store
    from carft.training.execution import Execution


@dataclass(frozen=True, kw_only=True)
class TrainSettings(ModelOptions, ExecutionOptions, PluginOptions):
    """Everything that `train` is asked for."""

    task: Task
    method: Annotated[str, option(RUN, "Name of the method; see: ls methods")]
    lr: Annotated[float | None, option(RUN, "Peak learning rate.")] = None
    kl_weight: Annotated[float | None, option(RUN, "Weight of CAR-FT's KL term; 0 is plain ft.")] = None
    seed: Annotated[int, option(RUN, "Order and augmentation of the images.", min=0)] = 0
    training: Annotated[dict[str, Any], Options(Training, RUN, MORE_RUN, ("epochs", "batch_size"))]
    set_: Annotated[list[str], option(RUN, "NAME=VALUE of any other hyperparameter.", "--set")] = field(
        default_factory=list
    )
    reading: Annotated[dict[str, Any], Options(Reading, RUN, MORE_RUN)]
    protocol: Annotated[dict[str, Any], Options(Cell, RUN, MORE_RUN)]
    workers: Annotated[int, option(WHERE, "Processes; above 1 through Ray Train.")] = 1
    device: Device = "auto"
    tasks_file: TasksFile = None
    unseal: Annotated[bool, option(OUTPUT, "Evaluate on the held-out sets too: test set, suites.", "--unseal")] = False
    keep_weights: Annotated[bool, option(OUTPUT, "Keep the trained weights.", "--keep-weights")] = False

    def cell(self) -> tuple[Cell, Catalog]:
        """The cell that is asked for, and the catalog that knows it."""
        from carft.config.resolve import specify
        from carft.core.errors import UserError

        catalog = self.catalog()
        named, more = given(lr=self.lr, kl_weight=self.kl_weight), numbers(self.set_)
        if twice := named.keys() & more.keys():
            raise UserError(f"{', '.join(sorted(twice))} is given twice, as an option and by --set.", "Give it once.")
        for name in catalog.method(self.method).own_training:
            if name in self.training:
                raise UserError(f"'{self.method}' has no --{name}: it never uses one.", "Leave the option out.")
        weights = self.weights()
        task, catalog = task_of_file(catalog, self.tasks_file, self.task)
        training, reading = Training(**self.training), Reading(**self.reading)
        asked = (self.seed, training, reading, *weights)
        return specify(task, self.method, named | more, *asked, catalog=catalog, **self.protocol), catalog


@takes(TrainSettings)
def train(settings: TrainSettings) -> None:
    """Run one cell, without Ray unless --workers is above 1. A finished cell is not run again.

    Example: `python cli.py train --task icons/transport --method car_ft --lr 3e-4 --kl-weight 1`
    """
    from carft.store.stored_catalog import keep_place

    cell, catalog = settings.cell()
    store = writable(settings.results, catalog, [cell.task], [cell.method])
    keep_place(store, cell)
    bank = cell.reading.context_templates
    print_run_header(catalog, [cell.task], cell.model, cell.pretrained, settings.data, bank)

    from carft.training.run import require_runnable, run_cell

    several = settings.execution(device=settings.device, workers=settings.workers).on_this_machine()
    execution = replace(several, workers=1)
    require_runnable(cell, several, catalog)
    fresh = not store.is_current(cell.id)
    unseal, keep_weights = settings.unseal, settings.keep_weights
    if settings.workers > 1 and _needs_workers(cell, store, unseal, settings.workers):
        _run_on_workers(cell, store, several, unseal, keep_weights)
    outcome = run_cell(cell, store, execution, unseal, keep_weights, log=lambda line: err.print(line, style="dim"))
    status = "done" if fresh else "reused"
    if settings.as_json:
        return print_json({"cell": outcome.cell, "status": status, "metrics": dict(outcome.metrics)})
    out.print(f"Cell {outcome.cell}: {'done' if fresh else 'was already done, nothing was run'}.")
    out.print(metrics_table(outcome.metrics))


def _needs_workers(cell: Cell, store: Store, unseal: bool, workers: int) -> bool:
    """Whether something is left that several workers can do. One that kept no weights is trained as it was before."""
    if not store.is_current(cell.id):
        return True
    if not unseal or store.evaluated(cell.id) >= set(store.catalog.card(cell.task).sets):
        return False
    made_by = store.read(cell.id).provenance["execution"]["workers"]
    return made_by == workers or store.find_weights(cell.id).is_file()


def _run_on_workers(cell: Cell, store: Store, execution: Execution, unseal: bool, keep_weights: bool) -> None:
    import ray

    from carft.core.errors import cause_for_people
    from carft.models.availability import find_weights
    from sweeps.faults.process import sigterm_as_interrupt
    from sweeps.ray_backend.connect import Resources, connect
    from sweeps.ray_backend.distributed import train_cell
    from sweeps.ray_backend.stopping import let_checkpoint

    request = Resources(gpus=execution.workers if execution.device == "cuda" else 0, execution=execution)
    request.check()
    store.catalog.require_present(cell.task, execution, sealed=unseal)
    find_weights(cell.model, cell.pretrained)
    with sigterm_as_interrupt() as stop:
        try:
            with stop.while_ray_starts():
                connect(request, err.say)
            train_cell(cell, store.address, execution, unseal, keep_weights, store.catalog)
        except KeyboardInterrupt:  # its traceback holds the workers until this block ends
            if stop.signal == signal.SIGTERM and execution.writes_checkpoints and cell.hyperparameters:
                let_checkpoint([cell.id], store)
            raise
        except Exception as error:
            raise cause_for_people(error) from None
        finally:
            ray.shutdown()


def interpolate(
    cell: Annotated[str, typer.Option(help="Id, or its beginning, of a finished fine-tuned cell.")],
    data: Data = None,
    results: Results = "results",
    as_json: AsJson = False,
) -> None:
    """WiSE-FT: the whole curve between the pretrained model and a finished cell, evaluated on every set.

    Example: `python cli.py interpolate --cell 3fa4`
    """
    from carft.posthoc.wise_ft import run_curve

    store, execution = existing(results, writable=True), execution_here(data)
    outcomes = run_curve(store.read(store.resolve(cell)).cell, store, execution)
    if as_json:
        return print_json([{"cell": o.cell, "status": o.status, "metrics": dict(o.metrics)} for o in outcomes])
    table = new_table("alpha", "cell", "val/top1", "test/top1", "ood/mean/top1")
    for outcome in outcomes:
        alpha = store.read(outcome.cell).cell.hyperparameters["alpha"]
        scores = [percent(outcome.metrics.get(k)) for k in ("val/top1", "test/top1", "ood/mean/top1")]
        table.add_row(f"{alpha:g}", outcome.cell, *scores)
    out.print(table)


def soup(
    cells: Annotated[str, typer.Option(help="Comma-separated ids, or their beginnings: the search cells of a study.")],
    greedy: Annotated[bool, typer.Option("--greedy", help="Only the cells that help on validation.")] = False,
    data: Data = None,
    results: Results = "results",
    as_json: AsJson = False,
) -> None:
    """Model soup: the average of the weights of finished cells, evaluated on every set.

    Example: `python cli.py soup --cells 3fa4,91c0,e07b --greedy`
    """
    from carft.posthoc.soup import run_soup

    store, execution = existing(results, writable=True), execution_here(data)
    parents = [store.read(store.resolve(cell)).cell for cell in split(cells) or []]
    outcome = run_soup(parents, float(greedy), store, execution)
    members = store.read(outcome.cell).provenance["members"]
    if as_json:
        metrics = dict(outcome.metrics)
        return print_json({"cell": outcome.cell, "status": outcome.status, "members": members, "metrics": metrics})
    out.print(f"Cell {outcome.cell}: {len(members)} of {len(parents)} cells: {', '.join(members)}", soft_wrap=True)
    out.print(metrics_table(outcome.metrics))


def export(
    cell: Annotated[str, typer.Argument(help="Id of a finished cell, or its beginning.")],
    to: Annotated[Path, typer.Option("--to", help="A new folder.")],
    data: Data = None,
    results: Results = "results",
    as_json: AsJson = False,
) -> None:
    """Write a trained model in open_clip's own folder format, with class head and model card.

    Example: `python cli.py model export 3fa4 --to my-model`
    """
    from carft.posthoc.export import export as write

    store, execution = existing(results), execution_here(data)
    paths = write(store.resolve(cell), store, to, execution)
    if as_json:
        return print_json([str(path) for path in paths])
    for path in paths:
        out.print(str(path), soft_wrap=True)
    out.print(f"Load it: open_clip.create_model_and_transforms('local-dir:{to.resolve()}')", soft_wrap=True)
