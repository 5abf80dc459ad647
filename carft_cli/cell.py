"""One cell: train it, interpolate it, make a soup of several, export it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from carft_cli.console import AsJson, Results, err, metrics_table, out, percent, print_json, split
from carft_cli.options import (
    FEATURES,
    Accumulation,
    Activation,
    CheckpointEvery,
    Compile,
    Data,
    FeatureCache,
    FeatureDtype,
    IdDomains,
    Model,
    OodDomains,
    RandomWeights,
    SkipUnreadable,
    Weights,
    execution_settings,
    given,
    numbers,
    say_setting,
    weights,
    with_domains,
    writable,
)


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
    model: Model = None,
    pretrained: Weights = None,
    activation: Activation = None,
    random_weights: RandomWeights = False,
    workers: Annotated[int, typer.Option(min=1, help="Processes; above 1 through Ray Train.")] = 1,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    accumulation: Accumulation = 1,
    compile_: Compile = False,
    checkpoint_every: CheckpointEvery = 0,
    data: Data = None,
    skip_unreadable: SkipUnreadable = False,
    feature_cache: FeatureCache = FEATURES,
    feature_dtype: FeatureDtype = "float32",
    id_domains: IdDomains = None,
    ood_domains: OodDomains = None,
    unseal: Annotated[bool, typer.Option("--unseal", help="Also evaluate on test set and suites.")] = False,
    keep_weights: Annotated[bool, typer.Option("--keep-weights", help="Keep the trained weights.")] = False,
    results: Results = "results",
    as_json: AsJson = False,
) -> None:
    """Run one cell, without Ray unless --workers is above 1. A finished cell is not run again.

    Example: `python cli.py train --task icons/transport --method car_ft --lr 3e-4 --kl-weight 1`
    """
    from carft.core.errors import UserError
    from carft.spec.cell import Reading, Training
    from carft.spec.resolve import specify

    named, more = given(lr=lr, kl_weight=kl_weight), numbers(set_)
    if twice := named.keys() & more.keys():
        raise UserError(f"{', '.join(sorted(twice))} is given twice, as an option and by --set.", "Give it once.")
    hyperparameters = {**named, **more}
    recipe = {"weight_decay": weight_decay, "warmup": warmup, "clip": clip, "crop": crop}
    training = Training(**given(epochs=epochs, batch_size=batch_size, **recipe))
    context = {"temperature": context_temperature, "scale": context_scale, "templates": context_templates}
    factors = {f"context_{name}": value for name, value in context.items()}
    reading = Reading(**given(kl_direction=kl_direction, class_head=class_head, **factors))
    model, pretrained = weights(model, pretrained, activation, random_weights)
    task = with_domains(task, id_domains, ood_domains)
    cell = specify(task, method, hyperparameters, seed, training, reading, model, pretrained, precision)
    store = writable(results)
    say_setting([cell.task], cell.model, cell.pretrained, data, reading.context_templates)

    from carft.training.execution import Execution
    from carft.training.run import check_execution, check_runnable, run_cell

    check_runnable(cell)
    kept = (feature_cache, feature_dtype)
    settings = execution_settings(accumulation, compile_, checkpoint_every, data, skip_unreadable, *kept)
    execution = Execution.here(device, **settings)
    check_execution(cell, replace(execution, workers=workers))
    fresh = not store.is_current(cell.id)
    if workers > 1 and fresh and cell.hyperparameters:
        _train_on_workers(cell, store.address, replace(execution, workers=workers), unseal or keep_weights)
    outcome = run_cell(cell, store, execution, unseal, keep_weights, log=lambda line: err.print(line, style="dim"))
    status = "done" if fresh else "reused"
    if as_json:
        print_json({"cell": outcome.cell, "status": status, "metrics": dict(outcome.metrics)})
        return
    out.print(f"Cell {outcome.cell}: {'done' if fresh else 'was already done, nothing was run'}.")
    out.print(metrics_table(outcome.metrics))


def _train_on_workers(cell: Any, address: str, execution: Any, keep_weights: bool) -> None:
    import ray

    from sweeps.ray_backend.connect import Resources, connect
    from sweeps.ray_backend.distributed import train_cell

    request = Resources(gpus=execution.workers if execution.device == "cuda" else 0, workers_per_cell=execution.workers)
    request.check()
    connect(request)
    try:
        train_cell(cell, address, execution, keep_weights)
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
    from carft.store.mirror import open_store
    from carft.training.execution import Execution

    store = open_store(results, writable=True)
    store.require_present()
    execution = Execution.here(data=None if data is None else str(data.resolve()))
    outcomes = run_curve(store.read(store.resolve(cell)).cell, store, execution)
    if as_json:
        print_json([{"cell": o.cell, "status": o.status, "metrics": dict(o.metrics)} for o in outcomes])
        return
    table = Table("alpha", "cell", "val/top1", "test/top1", "ood/mean/top1")
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
    from carft.store.mirror import open_store
    from carft.training.execution import Execution

    store = open_store(results, writable=True)
    store.require_present()
    execution = Execution.here(data=None if data is None else str(data.resolve()))
    parents = [store.read(store.resolve(cell)).cell for cell in split(cells) or []]
    outcome = run_soup(parents, float(greedy), store, execution)
    members = store.read(outcome.cell).provenance["members"]
    if as_json:
        metrics = dict(outcome.metrics)
        print_json({"cell": outcome.cell, "status": outcome.status, "members": members, "metrics": metrics})
        return
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

    Example: `python cli.py export 3fa4 --to my-model`
    """
    from carft.posthoc.export import export as write
    from carft.store.mirror import open_store
    from carft.training.execution import Execution

    store = open_store(results)
    store.require_present()
    execution = Execution.here(data=None if data is None else str(data.resolve()))
    paths = write(store.resolve(cell), store, to, execution)
    if as_json:
        print_json([str(path) for path in paths])
        return
    for path in paths:
        out.print(str(path), soft_wrap=True)
    out.print(f"Load it: open_clip.create_model_and_transforms('local-dir:{to.resolve()}')", soft_wrap=True)
