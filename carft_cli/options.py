"""Options that several commands have, and what they come to."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from carft.core.errors import UserError
from carft.spec.cell import DIGEST_MARK
from carft_cli.console import err, split

if TYPE_CHECKING:
    from carft.store.records import Store

Data = Annotated[Path | None, typer.Option("--data", help="The folder that holds the data sets.")]
SkipUnreadable = Annotated[
    bool, typer.Option("--skip-unreadable", help="Leave out images that cannot be decoded, on record.")
]
Model = Annotated[
    str | None, typer.Option(help="An open_clip model, hf-hub:... or local-dir:...; default: the task card's.")
]
Weights = Annotated[
    str | None, typer.Option("--pretrained", help="A tag, or a weights file; default: the task card's.")
]
Activation = Annotated[str | None, typer.Option(help="gelu or quickgelu, for a weights file that does not say.")]
RandomWeights = Annotated[
    bool, typer.Option("--random-weights", help="Weights that nobody trained: only to see that everything runs.")
]
Accumulation = Annotated[int, typer.Option(min=1, help="Parts that a worker's batch is computed in.")]
Compile = Annotated[bool, typer.Option("--compile", help="Through torch.compile.")]
CheckpointEvery = Annotated[int, typer.Option(min=0, help="Steps between checkpoints of a cell; 0: none.")]
FeatureCache = Annotated[
    str,
    typer.Option(help="Folder of pretrained features and drawings, 10 GiB at most; 'none' computes them each time."),
]
FeatureDtype = Annotated[
    Literal["float32", "float16"],
    typer.Option(help="What features are kept as; float16 takes half the space, the loss then agrees to about 1e-3."),
]
#: where features are kept when nothing else is asked for: on the disk of the machine that computes
FEATURES = "~/.cache/carft/features"

# of a whole sweep, and of its plan
RecipeName = Annotated[str, typer.Argument(metavar="RECIPE", help="Name of the recipe, such as downstream.")]
Tasks = Annotated[str | None, typer.Option(help="Comma-separated; default: the recipe's.")]
Methods = Annotated[str | None, typer.Option(help="Comma-separated; default: the recipe's.")]
Trials = Annotated[int | None, typer.Option(help="Search trials of every trained method on every task.")]
Seeds = Annotated[int | None, typer.Option(help="Confirm seeds.")]
Precision = Annotated[str | None, typer.Option(help="float32 or bfloat16; default: the recipe's.")]
Gpus = Annotated[int, typer.Option(help="GPUs for the whole sweep; 0 runs on CPU cores.")]
WorkersPerCell = Annotated[int, typer.Option(help="Workers of each cell; above 1 through Ray Train.")]
CellsPerGpu = Annotated[int, typer.Option(help="Cells that share a GPU, for small models.")]
Address = Annotated[str | None, typer.Option(help="host:port or ray://host:port of a running cluster.")]
LeaveOneOut = Annotated[
    bool, typer.Option("--leave-one-out", help="folder: tasks: one task per domain that is held out.")
]
Oracle = Annotated[
    bool,
    typer.Option("--oracle", help="Afterwards unseal the search cells too: what selection on test would give."),
]
EarlyStopping = Annotated[
    bool | None,
    typer.Option(help="Give up search trials that fall behind at the recipe's rungs; default: as the recipe says."),
]
RetryFailed = Annotated[
    bool, typer.Option("--retry-failed", help="Also run cells that failed before for a reason of their own.")
]
HangAfter = Annotated[
    float, typer.Option(min=0, help="Seconds without progress after which a cell is ended; 0 waits for ever.")
]
Smoke = Annotated[bool, typer.Option("--smoke", help="As small as it can be: does everything run?")]

IdDomains = Annotated[
    str | None, typer.Option(help="folder: tasks: comma-separated domains to train on; default: the first.")
]
OodDomains = Annotated[
    str | None, typer.Option(help="folder: tasks: comma-separated domains under shift; default: the others.")
]


def with_domains(task: str, id_domains: str | None, ood_domains: str | None) -> str:
    """A task's name with its domains chosen; ``UserError`` where domains are no choice."""
    from carft.data.folder.cards import folder_task
    from carft.data.folder.naming import is_folder, parse

    if not (id_domains or ood_domains):
        return task
    if not is_folder(task):
        raise UserError(
            f"The domains of {task} are fixed.", "--id-domains and --ood-domains are for folder:PATH tasks."
        )
    return folder_task(parse(task).path, split(id_domains) or (), split(ood_domains) or ())


def given(**values: Any) -> dict[str, Any]:
    """The options that were given."""
    return {name: value for name, value in values.items() if value is not None}


def execution_settings(
    accumulation: int,
    compile_: bool,
    checkpoint_every: int,
    data: Path | None,
    skip_unreadable: bool,
    feature_cache: str,
    feature_dtype: str,
    cells_per_gpu: int = 1,
) -> dict[str, Any]:
    """How cells are computed, besides device and workers."""
    return {
        "accumulation": accumulation,
        "compile": compile_,
        "checkpoint_every": checkpoint_every,
        "data": None if data is None else str(data.resolve()),
        "skip_unreadable": skip_unreadable,
        "cells_per_gpu": cells_per_gpu,
        "feature_cache": None if feature_cache == "none" else str(Path(feature_cache).expanduser().resolve()),
        "feature_dtype": feature_dtype,
    }


def weights(
    model: str | None, pretrained: str | None, activation: str | None, random_weights: bool
) -> tuple[str | None, str | None]:
    """Model and weights as asked for, once it is sure that the numbers can mean something."""
    from carft.spec.resolve import RANDOM

    for value, option in ((model, "--model"), (pretrained, "--pretrained")):
        if value is not None and not value.strip():
            raise UserError(f"{option} is empty.", "Leave it out for the task's own, or name one.")
    if model is not None:
        from carft.models.availability import require_architecture

        require_architecture(model)
    if random_weights:
        if pretrained:
            raise UserError("--random-weights and --pretrained exclude each other.", "Give one of the two.")
        err.print("Warning: random weights. No number of this run means anything.", soft_wrap=True)
        return model, RANDOM
    if pretrained == RANDOM:
        raise UserError(
            "CAR-FT starts from a pretrained CLIP; random weights mean nothing.",
            "To see that everything runs, say so: --random-weights",
        )
    if pretrained and Path(pretrained).is_file():
        if model is None:
            raise UserError("A weights file does not say which model it is for.", "Give --model NAME as well.")
        from carft.models.clip import states_activation

        return states_activation(model, pretrained, activation), pretrained
    if activation:
        raise UserError("--activation is for a weights file, given as --model NAME --pretrained PATH.")
    return model, pretrained


def numbers(pairs: list[str]) -> dict[str, float]:
    """NAME=VALUE options as numbers."""
    values = {}
    for pair in pairs:
        name, equals, text = pair.partition("=")
        try:
            values[name.strip()] = float(text)
        except ValueError:
            equals = ""
        if not equals:
            raise UserError(f"--set {pair} is not a hyperparameter with a number.", "Write it as --set l2_weight=0.1")
    return values


@contextmanager
def writing(place: Path) -> Iterator[None]:
    """Turns the failure to write ``place`` into a ``UserError``."""
    try:
        yield
    except OSError as error:
        raise UserError(f"'{place}' cannot be written: {error.strerror or error}.", "Give another place.") from error


def writable(results: str) -> Store:
    """The results folder, made if it is not there; ``UserError`` when it cannot be written."""
    from carft.store.mirror import open_store

    store = open_store(results, writable=True)
    store.require_writable()
    return store


def say_setting(tasks: list[str], model: str, pretrained: str, data: Path | None, bank: str = "standard") -> None:
    """The first line printed: which data, model and scale, and what to be warned of."""
    from carft.data.catalog import card

    scale = card(tasks[0]).scale
    named = tasks[0] if len(tasks) == 1 else f"{len(tasks)} tasks: {', '.join(tasks[:3])}, ..."
    world = "the built-in icons world" if tasks[0].startswith("icons/") else "data on this machine"
    known = pretrained.partition(DIGEST_MARK)[0]
    err.print(f"Data: {named} ({world}). Model: {model}, weights '{known}'. Scale: {scale}.", soft_wrap=True)
    if fakes := [task for task in tasks if _is_fixture(task, data)]:
        err.print(f"Warning: fixtures, no real image: {', '.join(fakes)}. No number of them means anything.")
    for warning in (w for task in tasks for w in card(task).warnings(bank)):
        err.print(f"Warning: {warning}", soft_wrap=True)


def _is_fixture(task: str, data: Path | None) -> bool:
    """Whether any data set of a task is a fake tree."""
    from carft.data.catalog import data_sets
    from carft.data.fixtures import is_fixture
    from carft.data.folder.naming import is_folder, parse

    if is_folder(task):
        return is_fixture(parse(task).path)
    return data is not None and any(is_fixture(data / one.place) for one in data_sets(task))
