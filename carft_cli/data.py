"""Data sets on disk: list, get, check or pack them; and the splits of your own data."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, replace
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from carft.core.errors import UserError, typed
from carft.core.files import given_path
from carft.training.execution import Execution
from carft_cli.answer import Answer, Rows, Shown, answering, stacked
from carft_cli.console import counted, err
from carft_cli.declare import DATA, option
from carft_cli.options import Data, TasksFilePath, task_of_file

if TYPE_CHECKING:
    from carft.catalog.catalog import Catalog
    from carft.data.folder.images import ImageTable
    from carft.data.folder.named import NamedTask
    from carft.data.sets import DataSet

    #: name of a task -> its images, and what names their domains
    ImageTables = Mapping[str, tuple[ImageTable, NamedTask]]

PackFolder = Annotated[
    Path, option(DATA, "Folder for packed copies: the --data of other commands.", "--to", parser=given_path)
]
SetName = Annotated[str, typer.Argument(help="A data set or task; see: ls data")]


def required(data: Path | None) -> Path:
    """The folder of data sets that was given; ``UserError`` when none was."""
    if data is None:
        raise UserError("No folder of data sets is named.", "Give one: --data ROOT")
    return data


data_group = typer.Typer(no_args_is_help=True, help="Data sets on disk: get, check or pack them.")


def list_data(name: str | None) -> Answer:
    """What each data set measures, how large it is, and where it goes. name: of a data set or task; None: all."""
    from carft.catalog.catalog import BUILT_IN
    from carft.catalog.families import DATA_SETS

    rows: Rows = []
    for data_set in list(DATA_SETS.values()) if name is None else _some(name, BUILT_IN):
        row = {"data set": data_set.name, "measures": data_set.measures, "classes": len(data_set.classes)}
        row |= {"images": dict(data_set.counts), "place": data_set.folder, "fetch": bool(data_set.archives)}
        row["digests"] = len(data_set.digests) + bool(data_set.listing)
        rows.append({**row, "licence": data_set.licence, "source": data_set.source})
    return Answer(rows)


@data_group.command("check")
@answering
def data_check(
    name: SetName,
    fetch: Annotated[bool, typer.Option("--fetch", help="First download what torchvision may download.")] = False,
    fake: Annotated[bool, typer.Option("--fake", help="First draw a tiny tree in its layout, marked as fake.")] = False,
    data: Data = None,
    tasks_file: TasksFilePath = None,
) -> Answer:
    """Read every image and compare with the catalog: counts, classes, digests. Exit code 1 when something differs.

    Example: `python cli.py data check pets --fetch --data data`
    """
    from carft.data.checking import MEANINGS, check

    if fetch or fake:
        _get(name, required(data), fake)
    chosen, catalog, root = _asked(name, data, tasks_file)
    rows: Rows = []
    for shown, data_set in chosen:
        found = replace(check(data_set, root), data_set=shown)
        row = {**asdict(found), "meaning": MEANINGS[found.status]}
        if catalog.named(shown):
            row |= _own(shown, catalog, found.status)
        rows.append(row)
    people: list[Shown] = list(stacked(rows, ("data_set", "status")))
    if any(row["unreadable"] for row in rows):
        people.append("Replace what cannot be read with complete copies.")
    return Answer(rows, people, int(any(row["status"] == "failed" or row.get("refused") for row in rows)))


def _get(name: str, root: Path, fake: bool) -> None:
    """Download the data sets of a name that are not in a folder; or draw fake ones there."""
    from carft.catalog.catalog import BUILT_IN
    from carft.data.fetching import fetch

    for data_set in _some(name, BUILT_IN):
        if fake:
            data_set.fixture(root)
        else:
            fetch(data_set, root, log=lambda line: err.say(line, style="dim"))


def _own(task: str, catalog: Catalog, status: str) -> dict[str, Any]:
    """What would spoil a sweep on your own data. Raises ``UserError`` for data that cannot be."""
    from carft.data.checking import held_out_copies

    table, named = catalog.own.table(task), catalog.own.named[task]
    copies = held_out_copies(table.sets(named.id_domains, named.ood_domains))
    facts: dict[str, Any] = {
        "groups": len(table.splits),
        "notes": table.notes,
        "refused": catalog.refusal(task, Execution()),
    }
    facts["copies"] = {name: [[str(path) for path in pair] for pair in pairs] for name, pairs in copies.items()}
    if copies:
        facts["remedy"] = "Held-out images have the bytes of images to train on: give copies one group."
    if status == "unknown":  # no catalog knows what your data should be
        facts["meaning"] = "Every image can be read."
    return facts


def _asked(name: str, data: Path | None, tasks_file: Path | None) -> tuple[list[tuple[str, DataSet]], Catalog, Path]:
    """The data sets of a name, each with what it is called, the catalog, and the folder that holds them.

    Your own data are called as their task. Raises ``UserError`` for what is not there.
    """
    from carft.catalog.catalog import BUILT_IN

    name, catalog = task_of_file(BUILT_IN, tasks_file, name)
    is_own = catalog.named(name) is not None
    chosen = _some(name, catalog)
    root = Path() if is_own else required(data)
    for data_set in chosen:
        data_set.require_present(root)
    return [(name if is_own else data_set.name, data_set) for data_set in chosen], catalog, root


@data_group.command("pack")
@answering
def data_pack(name: SetName, to: PackFolder, data: Data = None, tasks_file: TasksFilePath = None) -> Answer:
    """Copy a data set into few tar files, which are faster to copy and open; records stay the same.

    Example: `python cli.py data pack imagenet --data data --to packed`
    """
    from carft.data.packing import pack

    chosen, catalog, root = _asked(name, data, tasks_file)
    rows: Rows = []
    following = f"Next: {typed('data', 'check', name, '--data', str(to))}"
    for shown, data_set in chosen:
        copy = pack(data_set, root, to, log=lambda line: err.say(line, style="dim"))
        if catalog.named(shown):
            path = (copy.folder / data_set.table).resolve()
            following = f"Next: write '{path}' as the path of {shown} into the tasks file."
        rows.append({"data set": shown, **asdict(copy), "folder": str(copy.folder)})
    return Answer(rows, [rows, following])


def _some(name: str, catalog: Catalog) -> list[DataSet]:
    data_sets = catalog.data_sets(name)
    if not data_sets:
        raise UserError(f"The task {name} names no data set on disk.", f"Known data sets: {typed('ls', 'data')}")
    return data_sets


#: groups of a held-out set below which a person is warned
FEW_GROUPS = 10


def tables_of(tasks: Iterable[str], catalog: Catalog) -> ImageTables:
    """Return task -> its images, of the tasks on your own data that can be read here."""
    tables = {}
    for task in tasks:
        if catalog.named(task):
            try:
                tables[task] = catalog.own.table(task), catalog.own.named[task]
            except UserError:
                continue  # the plan names it as an obstacle
    return tables


def split_rows(tables: ImageTables) -> list[dict[str, Any]]:
    """Images and groups of every split by domain; of a domain under shift, only the test split is used."""
    from carft.data.folder.images import SPLITS

    rows: list[dict[str, Any]] = []
    for task, (table, named) in tables.items():
        for domain, split in product(table.domains, SPLITS):
            part = table.part(domain, split)
            used = domain in named.id_domains or (domain in named.ood_domains and split == "test")
            sizes = {"images": len(part), "groups": len(set(part.groups)), "used": used}
            rows.append({"task": task, "domain": domain, "split": split, **sizes})
    return rows


def split_warnings(tables: ImageTables) -> list[str]:
    """What a person should know of the sets before a sweep, in sentences.

    One for each held-out set with few groups: the smallest difference that it can show.
    """
    from reports.judge.estimate import smallest_difference

    lines = []
    for task, (table, named) in tables.items():
        sets = table.sets(named.id_domains, named.ood_domains)
        for split, index in sets.items():
            groups = len(set(index.groups))
            if split == "train" or groups >= FEW_GROUPS:
                continue
            effect = "differences have no interval"
            if groups > 1:
                effect = f"it cannot show differences below about {100 * smallest_difference(groups):.0f} points"
            images = f"{counted(len(index), 'image')} of {counted(groups, 'group')}"
            lines.append(f"{split} of {task} has {images}: {effect}.")
    return lines
