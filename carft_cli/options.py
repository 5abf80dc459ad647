"""Groups of options that several commands share, and what each group stands for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

from carft.config.cell import DIGEST_MARK
from carft.core.errors import UserError, first_of
from carft.core.files import given_path
from carft.training.execution import Execution
from carft_cli.console import err
from carft_cli.declare import DATA, MORE_DATA, MORE_RUN, OUTPUT, RUN, WHERE, Options, option

if TYPE_CHECKING:
    from carft.catalog.catalog import Catalog
    from carft.config.cell import Cell
    from carft.store.records import Store

OptionValue = TypeVar("OptionValue")

#: where features are stored by default: on the disk of the machine that computes them
FEATURES = "~/.cache/carft/features"


def results_path(given: str) -> str:
    """A results folder as it was asked for, path or URL; ``UserError`` for what is neither."""
    if not given.strip():
        raise UserError("--results is empty.", "Name a folder, or leave it out for 'results'.")
    if "://" not in given:
        path = Path(given)
        if path.is_file():
            raise UserError(f"--results '{given}' is a file.", "Name a folder.")
        return str(path)
    from carft.store.mirror import checked_url

    return checked_url(given)


ResultsPath = Annotated[
    str,
    option(OUTPUT, "The results: a folder, or s3://BUCKET/...", "--results", parser=results_path, metavar="PATH"),
]
Data = Annotated[
    Path | None,
    option(DATA, "Folder of the data sets.", "--data", file_okay=False, resolve_path=True, metavar="PATH"),
]
TaskName = Annotated[str, option(RUN, "Name of the task; see: ls tasks")]
Device = Annotated[str, option(WHERE, "auto takes a GPU where there is one.", metavar="auto|cpu|cuda")]


@dataclass(frozen=True, kw_only=True)
class ResultsOptions:
    """The results folder, and methods that are no part of this package."""

    results: ResultsPath = "results"
    plugin: Annotated[
        list[Path] | None, option(RUN, "Python file with a method of your own, as often as needed (docs/extending.md).")
    ] = None

    @cached_property
    def store(self) -> Store:
        """The results folder as it is when it is first asked for."""
        from carft.catalog.catalog import BUILT_IN
        from carft.store.mirror import open_store

        return open_store(self.results, BUILT_IN)

    def catalog(self) -> Catalog:
        """The catalog with the methods of the files, and the choice of suites that the results hold."""
        from carft.catalog.catalog import BUILT_IN

        return BUILT_IN.with_suites(self.store.catalog.suites).with_plugins(self.plugin or [])


@dataclass(frozen=True, kw_only=True)
class ModelOptions:
    """The pretrained model."""

    model: Annotated[
        str | None, option(RUN, "An open_clip model, hf-hub:... or local-dir:...; default: the task card's.")
    ] = None
    pretrained: Annotated[str | None, option(RUN, "A tag, or a weights file; default: the task card's.")] = None
    activation: Annotated[str | None, option(MORE_RUN, "gelu or quickgelu, for a weights file that does not say.")] = (
        None
    )

    def weights(self) -> tuple[str | None, str | None]:
        """Model and weights; ``UserError`` for an unknown architecture, and a weights file that says too little."""
        from carft.catalog.resolve import RANDOM

        if self.model is not None:
            from carft.models.availability import require_architecture

            require_architecture(self.model)
        if self.pretrained == RANDOM:
            err.say("Warning: random weights. No number of this run means anything.")
        if self.pretrained and Path(self.pretrained).is_file():
            if self.model is None:
                raise UserError("A weights file does not say which model it is for.", "Give --model NAME as well.")
            from carft.models.clip import with_activation

            return with_activation(self.model, self.pretrained, self.activation), self.pretrained
        if self.activation:
            raise UserError("--activation is for a weights file, given as --model NAME --pretrained PATH.")
        return self.model, self.pretrained or None


@dataclass(frozen=True, kw_only=True)
class ExecutionOptions:
    """The data sets on disk, and how cells are computed, besides device and workers."""

    data: Data = None
    compute: Annotated[dict[str, Any], Options(Execution, WHERE)]

    def execution(self, **settings: Any) -> Execution:
        """The execution of these options; ``UserError`` for a value outside its range.

        settings: others of :class:`carft.training.execution.Execution`, in force where no option is given.
        """
        values = {"feature_cache": FEATURES, **settings, **self.compute}
        folder = values.pop("feature_cache")
        cache = None if folder == "none" else str(given_path(folder).resolve())
        return Execution(data=text_of(self.data), feature_cache=cache, **values)


TasksFilePath = Annotated[
    Path | None,
    option(MORE_DATA, "YAML file of named tasks on your own data, or its folder (docs/folder.md).", "--tasks-file"),
]


def with_tasks_file(catalog: Catalog, file: Path | None, names: list[str] | None) -> tuple[list[str] | None, Catalog]:
    """The names of tasks, in full where they are of a tasks file, and the catalog that knows them.

    names: of tasks or families, also of this package; default: all of the file. Raises ``UserError`` for a name that
    is unknown.
    """
    if file is None:
        return names, catalog
    from carft.catalog.families import CARDS
    from carft.data.folder.named import tasks_in

    of_package: list[str] = []
    own: list[str] | None = None
    if names is not None:
        of_package = [name for name in names if name in CARDS]
        own = [name for name in names if name not in CARDS]
    tasks = tasks_in(file, own)
    return [*of_package, *(task.name for task in tasks)], catalog.with_tasks(tasks)


def task_of_file(catalog: Catalog, file: Path | None, task: str) -> tuple[str, Catalog]:
    """The same of one task. Raises ``UserError`` for the name of a family of several."""
    names, catalog = with_tasks_file(catalog, file, [task])
    if names is None or len(names) != 1:
        raise UserError(f"'{task}' is a family of several tasks.", f"Name one of them: {', '.join(names or ())}")
    return names[0], catalog


def execution_here(data: Path | None) -> Execution:
    """The execution of a command with nothing to choose but the data folder."""
    return Execution(device="auto", data=text_of(data)).on_this_machine()


def text_of(path: Path | None) -> str | None:
    """A path as text; None where none was given."""
    return None if path is None else str(path)


def given(**values: Any) -> dict[str, Any]:
    """The options that were given."""
    return {name: value for name, value in values.items() if value is not None}


def named_values(
    option: str, pairs: list[str] | None, read: Callable[[str], OptionValue], says: str, example: str
) -> dict[str, OptionValue]:
    """NAME=VALUE options by name. read: reads a value, and raises ``ValueError`` for a wrong one.

    Raises ``UserError``, with ``says`` and ``example``, for a wrong pair, and for a name that is given twice.
    """
    values: dict[str, OptionValue] = {}
    for pair in pairs or ():
        name, _, text = pair.partition("=")
        name = name.strip()
        if name in values:
            raise UserError(f"{option} gives {name} twice.", "Give it once.")
        try:
            if not name:
                raise ValueError(pair)
            values[name] = read(text.strip())
        except ValueError:
            raise UserError(f"{option} {pair} is not {says}.", f"Write it as {option} {example}") from None
    return values


def open_results(results: str, *prefixes: str, **asked: bool) -> Store:
    """A results folder as of :func:`carft.store.mirror.open_store`; names the files that cannot be read."""
    from carft.catalog.catalog import BUILT_IN
    from carft.store.mirror import open_store

    store = open_store(results, BUILT_IN, *prefixes, **asked)
    say_left_out(store)
    return store


def say_left_out(store: Store) -> None:
    """Name the files of a results folder that were left out since this was last called."""
    for words in store.left_out.values():
        err.say(f"Left out: {words}")
    store.left_out.clear()


def existing(results: str, **asked: bool) -> Store:
    """The same of a folder that must be there, else ``UserError``."""
    store = open_results(results, **asked)
    store.require_present()
    return store


def print_run_header(catalog: Catalog, tasks: list[str], cell: Cell) -> None:
    """Print data, model and scale of a run, then warnings. cell: one of the run."""
    cards = [catalog.card(task) for task in tasks]
    weights = cell.pretrained.partition(DIGEST_MARK)[0]
    err.say(f"Data: {first_of(tasks, 3)}. Model: {cell.model}, weights '{weights}'. Scale: {cards[0].scale}.")
    for card in cards:
        for warning in card.warnings(cell.reading.context_templates):
            err.say(f"Warning: {warning}")
