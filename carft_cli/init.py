"""Files to begin with: a project folder for your own data, and a method of your own."""

from __future__ import annotations

import os
import re
import shlex
import sys
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING, Annotated, Any

import typer

from carft.core.errors import MANY, OWN_RECIPE, UserError, first_of, typed, unknown
from carft.core.files import given_path, write_text
from carft_cli.console import out, print_json, program, split
from carft_cli.data import print_splits, split_rows, split_warnings, tables_of
from carft_cli.options import AsJson, ModelOptions, given

if TYPE_CHECKING:
    from carft.catalog.catalog import Catalog
    from carft.data.folder.images import ImageTable
    from carft.data.folder.named import NamedTask
    from carft_cli.data import ImageTables

TASKS, README = "carft.yaml", "README.md"


def init(
    data: Annotated[Path, typer.Argument(help="A folder of images, a folder of such folders, or a table.")],
    to: Annotated[Path, typer.Option("--to", help="The folder to write.")] = Path("my-audit"),
    model: Annotated[str | None, typer.Option(help="An open_clip model; default: that of downstream.")] = None,
    pretrained: Annotated[str | None, typer.Option(help="Its weights: a tag, or a file.")] = None,
    hold_out: Annotated[
        str | None,
        typer.Option("--hold-out", help="Comma-separated domains to hold out whole; default: all but the largest."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Look at your images and write a project folder: tasks file, recipe, and a README with three commands.

    A folder of several tasks becomes a family of tasks (docs/folder.md).

    Example: `python cli.py init images.csv --to my-audit`
    """
    by_task = _read_tables(given_path(data))
    tasks_file, recipe_file, readme = paths = [to / name for name in (TASKS, OWN_RECIPE, README)]
    _require_new(paths, "Give another folder: --to FOLDER")
    model, pretrained = ModelOptions(model=model, pretrained=pretrained).weights()

    from carft.catalog.catalog import BUILT_IN
    from carft.data.folder.named import TaskEntry

    entries = []
    tasks: list[NamedTask] = []
    for task, table in by_task.items():
        entries.append(_entry(task, table, to, split(hold_out) or ()))
    asks = not as_json and sys.stdin.isatty() and sys.stdout.isatty()
    for entry in entries:
        if asks:
            _ask_words(entry)
        tasks += TaskEntry(**entry).tasks(tasks_file)
    catalog = BUILT_IN.with_tasks(tasks)
    _write(tasks_file, {"tasks": entries}, "Domains, classes and prompts as they were found; edit what is wrong.")
    recipe = {"extends": "downstream", "tasks_file": TASKS, **given(model=model, pretrained=pretrained)}
    recipe |= {"trials": 4, "seeds": 3}
    _write(recipe_file, recipe, "What is not said here is that of `recipes downstream`.")

    measures: list[str] = []
    warnings: list[str] = []
    for task in by_task:
        card = catalog.card(task)
        measures.append(f"{card.name}, {len(card.classes)} classes, {card.measures.partition(': ')[2]}")
        warnings += card.warnings()
    name = catalog.card(next(iter(by_task))).name.partition("/")[0]
    words = {"name": name, "measures": "; ".join(measures), "program": program(), "folder": shlex.quote(str(to))}
    write_template(readme, "readme.md.txt", words)

    tables = tables_of(by_task, catalog)
    warnings += _problems(tables, catalog)
    if as_json:
        written = {"task": name, "tasks": list(tables), "paths": paths}
        return print_json({**written, "splits": split_rows(tables), "warnings": [*warnings, *split_warnings(tables)]})
    for task, (table, named) in tables.items():
        out.say(f"Task {task}: {len(table.paths)} images, {len(table.splits)} groups, {len(table.classes)} classes.")
        if named.ood_domains:
            out.say(f"Trained on: {', '.join(named.id_domains)}; held out: {', '.join(named.ood_domains)}.")
            _print_shares(table, named)
    for warning in warnings:
        out.say(f"Warning: {warning}")
    print_splits(tables)
    if not asks:
        for entry in entries:
            _print_words(entry)
        out.say("Would a person use these words? If not, change them now: once a results folder has cells, they stay.")
    out.say(f"Written: {tasks_file}, {recipe_file}, {readme}. Domains, class names and prompts are in {tasks_file}.")
    out.say(f"Next: {typed('plan', str(recipe_file), results=to / 'results')}")


def _problems(tables: ImageTables, catalog: Catalog) -> list[str]:
    """What is unclear in the data, or keeps a sweep from using them, in sentences."""
    from carft.training.execution import Execution

    problems: list[str] = []
    for task, (table, _) in tables.items():
        of_task = [*table.notes]
        refusal = catalog.refusal(task, Execution())
        if refusal:
            of_task.append(refusal)
        problems += [f"{task}: {problem}" if len(tables) > 1 else problem for problem in of_task]
    return problems


def _require_new(paths: Sequence[Path], hint: str) -> None:
    for path in paths:
        if path.exists():
            raise UserError(f"'{path}' exists already.", hint)


def _read_tables(path: Path) -> dict[str, ImageTable]:
    """Name of a task -> its table: of one task, or of a folder that holds several.

    Raises ``UserError`` for what is neither.
    """
    from carft.data.folder.reading import read

    try:
        table = read(path)
    except UserError as refusal:
        tables = {}
        if path.is_dir():
            tables = _read_family(path, refusal)
        if not tables:
            raise
        return tables
    given_name = table.root.stem
    if table.root == table.base:
        given_name = table.base.name
    return {task_name(given_name): table}


def _read_family(path: Path, refusal: UserError) -> dict[str, ImageTable]:
    """Name of a task -> its table, of a folder that holds tasks; empty for one that holds domains of one task.

    refusal: why the folder is not one task. Tasks without domains, <task>/<class>/<image>, share no class: domains do.
    """
    from carft.data.folder.reading import are_splits, read
    from carft.data.trees import folder_names

    folders = folder_names(path)
    if are_splits(folders):
        return {}
    has_domains = False
    classes: list[str] = []
    for folder in folders:
        for name in folder_names(path / folder):
            has_domains = has_domains or bool(folder_names(path / folder / name))
            classes.append(name.casefold())
    if len(folders) < 2 or not classes or not (has_domains or len(classes) == len(set(classes))):
        return {}
    tables: dict[str, ImageTable] = {}
    family = task_name(path.resolve().name)[:HALF]
    for folder in folders:
        try:
            table = read(path / folder)
        except UserError as other:
            raise UserError(
                f"'{path}' is neither one task nor a folder of tasks. As one: {refusal.message} As several: "
                f"{other.message}",
                refusal.hint,
            ) from other
        name = f"{family}/{_plain_name(folder)[:HALF]}"
        if name in tables:
            name = f"{name}-{len(tables)}"
        tables[name] = table
    return tables


#: most characters of the family, and of the task, in the name of a task of a family
HALF = 28


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


def _print_shares(table: ImageTable, named: NamedTask) -> None:
    """Say how many images of the domains under shift are tested, and how more of them can be."""
    held_out = sum(len(table.images[domain]) for domain in named.ood_domains)
    tested = _tested(table, named)
    if tested < held_out:
        out.say(f"The shift is measured on {tested} of {held_out} held-out images.")
    names = ",".join(named.ood_domains)
    if tested < _tested(table.with_whole_shifts(named.id_domains), named):
        out.say(f"On all whose {table.unit} no image of another domain has: --hold-out {shlex.quote(names)}")


def _tested(table: ImageTable, named: NamedTask) -> int:
    return sum(len(table.part(domain, "test")) for domain in named.ood_domains)


def _print_words(entry: dict[str, Any]) -> None:
    """Show the words of the classes, and the prompts of the domains."""
    out.say(f"Classes of {entry['name']}: {first_of(list(entry['class_names'].values()), MANY)}")
    for domain, prompt in entry.get("prompts", {}).items():
        out.say(f"  An image of {domain}: {prompt}")


def _ask_words(entry: dict[str, Any]) -> None:
    """Put the words that a person on the terminal gives in place of those that were found."""
    _print_words(entry)
    if "prompts" in entry and not typer.confirm("Would a person describe images of these domains so?", default=True):
        for domain, prompt in entry["prompts"].items():
            asked = f"An image of {domain}, with {{}} for the class"
            entry["prompts"][domain] = typer.prompt(asked, default=prompt, value_proc=_prompt)
    if not typer.confirm("Would a person call the classes so?", default=True):
        for name, words in entry["class_names"].items():
            entry["class_names"][name] = typer.prompt(f"Words for {name}", default=words)


def _prompt(text: str) -> str:
    """A caption as it was typed; typer asks again for one without a place for the class."""
    from carft.data.folder.named import require_place

    try:
        require_place("A caption", text)
    except UserError as refusal:
        raise typer.BadParameter(str(refusal)) from refusal
    return text


def _entry(task: str, table: ImageTable, to: Path, whole: Sequence[str]) -> dict[str, Any]:
    """The entry of a tasks file in the folder ``to``. whole: domains to hold out whole; none for the default.

    Where the data name the splits, the domains with images to train on are trained on; else the largest domain.
    Raises ``UserError`` for a domain that is not there, and where none is left to train on.
    """
    from carft.data.folder.images import split_of
    from carft.data.folder.named import default_prompt

    for domain in whole:
        if domain not in table.domains:
            raise unknown(f"domain in '{table.root}' called", domain, table.domains)
    trained: tuple[str, ...] = (max(table.domains, key=lambda domain: len(table.images[domain])),)
    if whole:
        trained = tuple(domain for domain in table.domains if domain not in whole)
    elif any(split != split_of(group) for group, split in table.splits.items()):
        named = tuple(domain for domain in table.domains if len(table.part(domain, "train")))
        if 0 < len(named) < len(table.domains):
            trained = named
    entry: dict[str, Any] = {"name": task, "path": Path(os.path.relpath(table.root, to.resolve())).as_posix()}
    held_out = [domain for domain in table.domains if domain not in trained]
    if held_out:
        prompts = {}
        for domain in table.domains:
            prompts[domain] = default_prompt(domain)
            if domain[0].lower() in "aeiou":
                prompts[domain] = f"an{prompts[domain][1:]}"
        entry |= {"id_domains": list(trained), "ood_domains": held_out, **given(whole=bool(whole) or None)}
        entry["prompts"] = prompts
    entry["class_names"] = {name: name.replace("_", " ") for name in table.classes}
    return entry


def _write(path: Path, content: dict[str, Any], note: str) -> None:
    from carft.core.yaml_file import yaml_of

    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, f"# {note}\n{yaml_of(content)}")


new_group = typer.Typer(no_args_is_help=True, help="Write files to begin with.", rich_markup_mode="markdown")


@new_group.callback()
def group() -> None:
    """Write files to begin with."""


@new_group.command()
def method(
    name: Annotated[str, typer.Argument(help="Name of the method: small letters, digits and _.")],
    to: Annotated[Path, typer.Option("--to", help="The folder to write to.")] = Path(),
    as_json: AsJson = False,
) -> None:
    """Write a method of your own that runs, as NAME.py, and a test of it.

    Example: `python cli.py new method my_method`
    """
    from carft.catalog.plugins import is_method_name
    from carft.config.registry import METHODS

    if not is_method_name(name):
        raise UserError(f"'{name}' cannot be the name of a method.", "Use small letters, digits and _.")
    if name in METHODS:
        raise UserError(f"There is a method '{name}' already.", "Take another name.")
    label = name.replace("_", " ")
    words = {"name": name, "label": label, "kind": label.title().replace(" ", "")}
    source, test = to / f"{name}.py", to / f"test_{name}.py"
    _require_new([source, test], "Take another name, or another folder with --to.")
    write_template(source, "method.py.txt", words)
    write_template(test, "test_method.py.txt", words)
    if as_json:
        return print_json([source, test])
    out.say(f"Written: {source}, {test}")
    out.say(f"Test it:  python -m pytest {shlex.quote(str(test))}")
    methods = f"zeroshot,ft,{name}"
    out.say(f"Sweep it: {typed('sweep', 'downstream', '--plugin', str(source), '--methods', methods)}")


def write_template(path: Path, template: str, words: dict[str, str]) -> None:
    """Write a template of ``carft_cli/templates`` with its ``$words`` replaced."""
    text = files("carft_cli").joinpath("templates", template).read_text(encoding="utf-8")
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, Template(text).substitute(words))
