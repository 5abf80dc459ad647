"""Files to begin with: a project folder for your own data."""

from __future__ import annotations

import os
import re
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from carft.core.errors import MANY, OWN_RECIPE, UserError, first_of, typed, unknown
from carft.core.files import given_path, write_text
from carft.training.execution import Execution
from carft_cli.answer import Answer, Shown, answering, without_constant
from carft_cli.console import split
from carft_cli.data import split_rows, split_warnings, tables_of
from carft_cli.options import ModelOptions, given

if TYPE_CHECKING:
    from carft.data.folder.images import ImageTable

TASKS = "carft.yaml"
#: most characters of the family, and of the task, in the name of a task of a family
HALF = 28


@answering
def init(
    data: Annotated[
        list[str], typer.Argument(help="A folder of images, or a table; several become a family of tasks.")
    ],
    to: Annotated[Path, typer.Option("--to", help="The folder to write.")] = Path("my-audit"),
    model: Annotated[str | None, typer.Option(help="An open_clip model; default: that of downstream.")] = None,
    pretrained: Annotated[str | None, typer.Option(help="Its weights: a tag, or a file.")] = None,
    hold_out: Annotated[
        str | None,
        typer.Option("--hold-out", help="Comma-separated domains that are never trained on; a terminal is asked."),
    ] = None,
) -> Answer:
    """Look at your images and write a project folder: a tasks file, and a recipe that `plan` and `sweep` take.

    Example: `python cli.py init images.csv --to my-audit`
    """
    tables = _read_tables([given_path(name) for name in data])
    tasks_file, recipe_file = paths = [to / TASKS, to / OWN_RECIPE]
    for path in paths:
        if path.exists():
            raise UserError(f"'{path}' exists already.", "Give another folder: --to FOLDER")
    model, pretrained = ModelOptions(model=model, pretrained=pretrained).weights()

    from carft.catalog.catalog import BUILT_IN
    from carft.data.folder.named import NamedTask, TaskEntry

    entries = [_entry(task, table, to, split(hold_out) or ()) for task, table in tables.items()]
    tasks: list[NamedTask] = []
    for entry in entries:
        tasks += TaskEntry(**entry).tasks(tasks_file)
    _write(tasks_file, {"tasks": entries}, "Domains, classes and prompts as they were found; edit what is wrong.")
    recipe = {"extends": "downstream", "tasks_file": TASKS, **given(model=model, pretrained=pretrained)}
    recipe |= {"trials": 4, "seeds": 3}
    _write(
        recipe_file,
        recipe,
        "What is not said here is that of `ls recipes downstream`. A sweep takes all GPUs; with --gpus 0 CPU cores.",
    )
    catalog = BUILT_IN.with_tasks(tasks)
    warnings: list[str] = []
    for task, table in tables.items():
        warnings += [*catalog.card(task).warnings(), *table.notes, *filter(None, [catalog.refusal(task, Execution())])]
    own = tables_of(tables, catalog)
    warnings += split_warnings(own)
    name = tasks[0].name.partition("/")[0]
    splits = split_rows(own)
    facts = {"task": name, "tasks": list(tables), "paths": paths, "splits": splits, "warnings": warnings}
    people: list[Shown] = [without_constant(splits, "task"), *(f"Warning: {warning}" for warning in warnings)]
    for entry in entries:
        people += _words(entry)
    people.append(f"Would a person use these words? If not, edit {tasks_file} now: they stay once results have cells.")
    people.append(f"Next: {typed('plan', str(recipe_file), results=to / 'results')}")
    return Answer(facts, people)


def _read_tables(paths: Sequence[Path]) -> dict[str, ImageTable]:
    """Name of a task -> its images. Several are a family, called as the folder that holds the first.

    Raises ``UserError`` for what is neither a folder of images nor a table, and for two of one name.
    """
    from carft.data.folder.reading import read

    tables: dict[str, ImageTable] = {}
    for path in paths:
        table = read(path)
        name = table.base.name if table.root == table.base else table.root.stem
        task = task_name(name)
        if len(paths) > 1:
            task = f"{task_name(paths[0].resolve().parent.name)[:HALF]}/{_plain_name(name)[:HALF]}"
        if task in tables:
            raise UserError(f"Two tasks would be called {task}.", "Rename one of their folders or tables.")
        tables[task] = table
    return tables


def task_name(given: str) -> str:
    """Return a name that a task can have, from the name of a folder or table."""
    from carft.catalog.families import TAKEN
    from carft.data.folder.named import LONGEST

    plain = _plain_name(given)[: LONGEST - 3]
    if plain in TAKEN:
        return f"my-{plain}"
    return plain


def _plain_name(given: str) -> str:
    return re.sub(r"[^\w.+()-]+|_+", "-", given).strip(".+()-") or "images"


def _words(entry: dict[str, Any]) -> list[str]:
    """The words of the classes, and the prompts of the domains."""
    lines = [f"Classes of {entry['name']}: {first_of(list(entry['class_names'].values()), MANY)}"]
    for domain, prompt in entry.get("prompts", {}).items():
        lines.append(f"  An image of {domain}: {prompt}")
    return lines


def _entry(task: str, table: ImageTable, to: Path, hold_out: Sequence[str]) -> dict[str, Any]:
    """The entry of a tasks file in the folder ``to``. hold_out: domains; where none is given a terminal is asked.

    Raises ``UserError`` where nobody names any of several, for one that is not there, and where none is left to train
    on.
    """
    from carft.data.folder.named import default_prompt

    entry: dict[str, Any] = {"name": task, "path": Path(os.path.relpath(table.root, to.resolve())).as_posix()}
    asks = sys.stdin.isatty() and sys.stderr.isatty()  # standard output is the answer alone
    if not hold_out and len(table.domains) > 1 and asks:
        asked = f"Domains: {', '.join(table.domains)}. Which are held out, with commas"
        hold_out = split(typer.prompt(asked, err=True)) or ()
    for domain in hold_out:
        if domain not in table.domains:
            raise unknown(f"domain in '{table.root}' called", domain, table.domains)
    trained = [domain for domain in table.domains if domain not in hold_out]
    if not trained or (len(trained) > 1 and not hold_out):
        first, *others = table.domains
        raise UserError(
            f"'{table.root}' has the domains {', '.join(table.domains)}: one must be trained on, others held out.",
            f"Say which are held out, such as --hold-out {shlex.quote(','.join(others))} to train on {first}.",
        )
    if hold_out:
        prompts = {}
        for domain in table.domains:
            prompts[domain] = default_prompt(domain)
            if domain[0].lower() in "aeiou":
                prompts[domain] = f"an{prompts[domain][1:]}"
        held_out = [domain for domain in table.domains if domain not in trained]
        entry |= given(whole=not _names_splits(table) or None)
        entry |= {"id_domains": trained, "ood_domains": held_out, "prompts": prompts}
    entry["class_names"] = {name: name.replace("_", " ") for name in table.classes}
    return entry


def _names_splits(table: ImageTable) -> bool:
    """Whether the data say the split of an image, which a hash of its group does not give."""
    from carft.data.folder.images import split_of

    return any(split != split_of(group) for group, split in table.splits.items())


def _write(path: Path, content: dict[str, Any], note: str) -> None:
    from carft.core.yaml_file import yaml_of

    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, f"# {note}\n{yaml_of(content)}")
