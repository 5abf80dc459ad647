"""Data sets on disk: list, check, download, pack, or draw a tiny fake one; and the splits of your own data."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, replace
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.text import Text

from carft.core.errors import UserError, typed
from carft.core.files import given_path
from carft_cli.answer import Answer, Rows, Shown, answering
from carft_cli.console import counted, err
from carft_cli.declare import DATA, option
from carft_cli.options import Data, TasksFilePath, task_of_file

if TYPE_CHECKING:
    from carft.catalog.catalog import Catalog
    from carft.data.checking import Attestation
    from carft.data.folder.images import ImageTable
    from carft.data.folder.named import NamedTask
    from carft.data.sets import DataSet

    #: name of a task -> its images, and what names their domains
    ImageTables = Mapping[str, tuple[ImageTable, NamedTask]]

#: what a person is told of their own data without a fault: no catalog knows what they should be
READABLE = "every image can be read"
PackFolder = Annotated[
    Path, option(DATA, "Folder for packed copies: the --data of other commands.", "--to", parser=given_path)
]
SetName = Annotated[str, typer.Argument(help="A data set or task; see: ls data")]


def required(data: Path | None) -> Path:
    """The folder of data sets that was given; ``UserError`` when none was."""
    if data is None:
        raise UserError("No folder of data sets is named.", "Give one: --data ROOT")
    return data


data_group = typer.Typer(no_args_is_help=True, help="Data sets on disk: check, download or pack them.")


def list_data(name: str | None, data: Path | None) -> Answer:
    """What each data set measures, how large it is, where it goes, and whether the folder ``data`` holds it.

    name: of a data set or task; None: all.
    """
    from carft.catalog.catalog import BUILT_IN
    from carft.catalog.families import DATA_SETS

    facts: Rows = []
    people: Rows = []
    for data_set in list(DATA_SETS.values()) if name is None else _some(name, BUILT_IN):
        row: dict[str, Any] = {"data set": data_set.name}
        if data:
            row["there"] = _state(data_set, data)
        row |= {"measures": data_set.measures, "classes": len(data_set.classes)}
        row |= {"images": dict(data_set.counts), "place": data_set.folder, "fetch": bool(data_set.archives)}
        people.append({**row, "images": _counts(data_set.counts), "fetch": "yes" if data_set.archives else "by hand"})
        digests = len(data_set.digests) + bool(data_set.listing)
        facts.append({**row, "digests": digests, "licence": data_set.licence, "source": data_set.source})
    return Answer(facts, [people, "Licences and sources: --json"])


def _counts(images: Mapping[str, int]) -> str:
    return ", ".join(f"{split} {count:,}" for split, count in images.items())


def _state(data_set: DataSet, root: Path) -> str:
    """Whether a data set is in a folder: ``here``, ``fixture``, ``half here`` (incomplete) or ``-`` (absent)."""
    from carft.data.sets import is_fixture

    folder = root / data_set.folder
    if not folder.exists():
        return "-"
    try:
        data_set.require_present(root)
    except UserError:
        return "half here"
    if is_fixture(folder):
        return "fixture"
    return "here"


@data_group.command("check")
@answering
def data_check(name: SetName, data: Data = None, tasks_file: TasksFilePath = None) -> Answer:
    """Read every image and compare with the catalog: counts, classes, digests. Exit code 1 when something differs.

    Example: `python cli.py data check pets --data data`
    """
    from carft.data.checking import check

    chosen, catalog, root = _asked(name, data, tasks_file)
    facts: Rows = []
    people: list[Shown] = []
    code = 0
    for shown, data_set in chosen:
        found = replace(check(data_set, root), data_set=shown)
        row = asdict(found)
        people += _check_lines(found, own=bool(catalog.named(shown)))
        if catalog.named(shown):
            more, lines = examine(shown, catalog)
            row |= more
            people += [*lines, *split_lines(tables_of([shown], catalog))]
        facts.append(row)
        if found.status == "failed" or row.get("refused"):
            code = 1
    return Answer(facts, people, code)


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


def _check_lines(one: Attestation, own: bool = False) -> Iterator[Shown]:
    """What was found of a data set. own: whether it is one of your own, of which no catalog knows the truth."""
    from carft.data.checking import MEANINGS

    status: str = one.status
    meaning = MEANINGS[one.status]
    if own:
        meaning = ""
        if status == "unknown":
            status = READABLE
    counts = _counts(one.counts)
    yield Text.assemble(f"{one.data_set}: ", (status, "bold"), f". {counts}. {meaning}".rstrip())
    for line in one.problems:
        yield f"  {line}"
    for file, reason in one.unreadable.items():
        yield f"  {file}: {reason}"
    if one.unreadable:
        yield "  Replace them with complete copies, or leave them out of a sweep with --skip-unreadable."


def examine(task: str, catalog: Catalog) -> tuple[dict[str, Any], list[str]]:
    """Look for what would spoil a sweep on your own data: the keys of `--json`, and lines for a person.

    Raises ``UserError`` for data that cannot be.
    """
    from carft.data.copies import held_out_copies

    table, named = catalog.own.table(task), catalog.own.named[task]
    tables, refusal = {task: (table, named)}, refusal_of(task, catalog)
    copies = held_out_copies(table.sets(named.id_domains, named.ood_domains))
    lines = [f"{len(table.splits):,} groups.", *table.notes]
    if refusal:
        lines.append(f"No sweep can use it yet. {refusal}")
    for name, pairs in copies.items():
        held, trained = pairs[0]
        lines.append(
            f"{name}: {counted(len(pairs), 'image')} with the bytes of an image to train on, such as {held} of "
            f"{trained}: give copies one group."
        )
    facts = {
        "copies": {name: [[str(path) for path in pair] for pair in pairs] for name, pairs in copies.items()},
        "refused": refusal,
        "splits": split_rows(tables),
        "warnings": split_warnings(tables),
    }
    return facts, [f"  {line}" for line in lines]


def refusal_of(task: str, catalog: Catalog) -> str | None:
    """Why no sweep can use your own images, in a sentence; None where one can."""
    from carft.training.execution import Execution

    return catalog.refusal(task, Execution())


@data_group.command("fetch")
@answering
def data_fetch(
    name: SetName,
    fake: Annotated[
        bool, typer.Option("--fake", help="Draw a tiny tree in its layout instead, marked as fake.")
    ] = False,
    data: Data = None,
) -> Answer:
    """Download what torchvision may download; say where the rest is to be had.

    Example: `python cli.py data fetch dtd --data data`
    """
    root = required(data)
    from carft.catalog.catalog import BUILT_IN
    from carft.data.fetching import fetch

    rows: Rows = []
    for data_set in _some(name, BUILT_IN):
        status = "present"
        if fake:
            data_set.fixture(root)
            status = "fake"
        elif fetch(data_set, root, log=lambda line: err.say(line, style="dim")):
            status = "fetched"
        rows.append({"data set": data_set.name, "status": status, "place": str(root / data_set.folder)})
    return Answer(rows, [rows, f"Next: {typed('data', 'check', name, '--data', str(root))}"])


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
    try:
        data_sets = catalog.data_sets(name)
    except UserError:
        if Path(name).exists():
            hint = f"Write a tasks file, which names your data, with: {typed('init', name)}"
            raise UserError(f"'{name}' is a path, not the name of a data set or task.", hint) from None
        raise
    if data_sets:
        return data_sets
    raise UserError(f"The task {name} names no data set on disk.", f"Known data sets: {typed('ls', 'data')}")


#: groups of a held-out set below which a person is warned
FEW_GROUPS = 10
REMEDY = "To test on more images, name the split of each image in a table with the column split (docs/folder.md)."


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
    from reports.stats.intervals import smallest_difference

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
            images = f"{counted(len(index), 'image')} of {counted(groups, table.unit)}"
            lines.append(f"{split} of {task} has {images}: {effect}.")
    return lines


def split_lines(tables: ImageTables) -> Iterator[Shown]:
    """Images and groups of every split by domain, with a warning for each held-out set of few groups."""
    if not tables:
        return
    yield "Images and groups of each split, and whether they are used:"
    yield [{**row, "used": "yes" if row["used"] else "no"} for row in split_rows(tables)]
    warnings = split_warnings(tables)
    for warning in warnings:
        yield f"Warning: {warning}"
    if warnings:
        yield REMEDY
