"""Data sets on disk: list, check, download, pack, or draw a tiny fake one; and the splits of your own data."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, replace
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.text import Text

from carft.core.errors import UserError, typed
from carft.core.files import given_path
from carft_cli.console import counted, err, out, print_json, rows_table
from carft_cli.declare import DATA, option
from carft_cli.options import AsJson, Data, TasksFilePath, task_of_file

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
SetName = Annotated[str, typer.Argument(help="A data set or task; see: data ls")]


def required(data: Path | None) -> Path:
    """The folder of data sets that was given; ``UserError`` when none was."""
    if data is None:
        raise UserError("No folder of data sets is named.", "Give one: --data ROOT")
    return data


data_group = typer.Typer(
    no_args_is_help=True, help="Data sets on disk: list, check, download, pack, or draw a tiny fake one."
)


@data_group.command("ls")
def data_ls(
    name: Annotated[str | None, typer.Argument(help="A data set, or a task; default: all.")] = None,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """List the data sets: what each measures, how large it is, where it goes, and whether --data holds it.

    Example: `python cli.py data ls --data data`
    """
    from carft.catalog.catalog import BUILT_IN
    from carft.catalog.families import DATA_SETS

    data_sets = list(DATA_SETS.values()) if name is None else _some(name, BUILT_IN)
    rows = []
    for data_set in data_sets:
        row: dict[str, Any] = {"data set": data_set.name}
        if data:
            row["there"] = _state(data_set, data)
        row |= {
            "measures": data_set.measures,
            "classes": len(data_set.classes),
            "images": dict(data_set.counts),
            "place": data_set.folder,
            "fetch": bool(data_set.archives),
            "digests": len(data_set.digests) + bool(data_set.listing),
            "licence": data_set.licence,
            "source": data_set.source,
        }
        rows.append(row)
    if as_json:
        return print_json(rows)
    for row in rows:
        row["images"] = _counts(row["images"])
        row["fetch"] = "yes" if row["fetch"] else "by hand"
    columns = ["data set", "there", "measures", "classes", "images", "place", "fetch"]
    if not data:
        columns.remove("there")
    out.print(rows_table(rows, columns=columns))
    out.say("Licences and sources: --json")


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
def data_check(name: SetName, data: Data = None, tasks_file: TasksFilePath = None, as_json: AsJson = False) -> None:
    """Read every image and compare with the catalog: counts, classes, digests. Exit code 1 when something differs.

    Example: `python cli.py data check pets --data data`
    """
    from carft.catalog.catalog import BUILT_IN
    from carft.data.checking import check

    name, catalog = task_of_file(BUILT_IN, tasks_file, name)
    chosen, own = _some(name, catalog), catalog.named(name) is not None
    root = Path() if own else required(data)
    for data_set in chosen:
        data_set.require_present(root)
    facts: dict[str, Any] = {}
    lines: list[str] = []
    checks = [check(data_set, root) for data_set in chosen]
    if own:
        facts, lines = examine(name, catalog)
        checks = [replace(one, data_set=name) for one in checks]
    if as_json:
        print_json([{**asdict(one), **facts} for one in checks])
    else:
        for one in checks:
            _print_check(one, own)
        for line in lines:
            out.say(f"  {line}")
        if own:
            print_splits(tables_of([name], catalog))
    if facts.get("refused") or any(one.status == "failed" for one in checks):
        raise SystemExit(1)


def _print_check(one: Attestation, own: bool) -> None:
    """Print what was found of a data set. own: whether it is one of your own, of which no catalog knows the truth."""
    from carft.data.checking import MEANINGS

    status: str = one.status
    meaning = MEANINGS[one.status]
    if own:
        meaning = ""
        if status == "unknown":
            status = READABLE
    counts = _counts(one.counts)
    out.say(Text.assemble(f"{one.data_set}: ", (status, "bold"), f". {counts}. {meaning}".rstrip()))
    for problem in one.problems:
        out.say(f"  {problem}")
    for file, reason in one.unreadable.items():
        out.say(f"  {file}: {reason}")
    if one.unreadable:
        out.say("  Replace them with complete copies, or leave them out of a sweep with --skip-unreadable.")


def examine(task: str, catalog: Catalog) -> tuple[dict[str, Any], list[str]]:
    """Look for what would spoil a sweep on your own data: the keys of `--json`, and lines for a person.

    Raises ``UserError`` for data that cannot be.
    """
    from carft.training.execution import Execution

    table, named = catalog.own.table(task), catalog.own.named[task]
    refusal = catalog.refusal(task, Execution())
    lines = [f"{len(table.splits):,} groups.", *table.notes]
    if refusal:
        lines.append(f"No sweep can use it yet. {refusal}")
    facts = {
        "refused": refusal,
        "splits": split_rows({task: (table, named)}),
        "warnings": split_warnings({task: (table, named)}),
    }
    return facts, lines


@data_group.command("fetch")
def data_fetch(name: SetName, data: Data = None, as_json: AsJson = False) -> None:
    """Download what torchvision may download; say where the rest is to be had.

    Example: `python cli.py data fetch dtd --data data`
    """
    root = required(data)
    from carft.catalog.catalog import BUILT_IN
    from carft.data.fetching import fetch

    rows = []
    for data_set in _some(name, BUILT_IN):
        new = fetch(data_set, root, log=lambda line: err.say(line, style="dim"))
        rows.append({"data set": data_set.name, "status": "fetched" if new else "present"})
    if as_json:
        return print_json(rows)
    for row in rows:
        words = "downloaded" if row["status"] == "fetched" else "was here already"
        out.say(f"{row['data set']}: {words}.")
    out.say(f"Next: {typed('data', 'check', name, '--data', str(root))}")


@data_group.command("pack")
def data_pack(
    name: SetName,
    to: PackFolder,
    data: Data = None,
    tasks_file: TasksFilePath = None,
    as_json: AsJson = False,
) -> None:
    """Copy a data set into few tar files, which are faster to copy and open; records stay the same.

    Example: `python cli.py data pack imagenet --data data --to packed`
    """
    from carft.catalog.catalog import BUILT_IN
    from carft.data.packing import pack

    name, catalog = task_of_file(BUILT_IN, tasks_file, name)
    chosen, own = _some(name, catalog), catalog.named(name) is not None
    root = Path() if own else required(data)
    rows = []
    for data_set in chosen:
        data_set.require_present(root)
        copy = pack(data_set, root, to, log=lambda line: err.say(line, style="dim"))
        rows.append({"data set": name if own else data_set.name, **asdict(copy), "folder": str(copy.folder)})
        path = copy.folder / data_set.table
    if as_json:
        return print_json(rows)
    for row in rows:
        held = f"{row['images']:,} images, {row['bytes'] / 1e9:.3g} GB"
        out.say(f"{row['data set']}: {held}, in {counted(row['shards'], 'tar file')} in {row['folder']}")
    if own:
        out.say(f"Next: write '{path.resolve()}' as the path of {name} into the tasks file.")
    else:
        out.say(f"Next: {typed('data', 'check', name, '--data', str(to))}")


@data_group.command("fixture")
def data_fixture(name: SetName, data: Data = None, as_json: AsJson = False) -> None:
    """Draw a tiny fake tree in the set's layout, marked as fake, to try everything without the data.

    Example: `python cli.py data fixture pets --data fixtures`
    """
    root = required(data)
    from carft.catalog.catalog import BUILT_IN

    chosen = _some(name, BUILT_IN)
    for data_set in chosen:
        data_set.fixture(root)
    if as_json:
        return print_json([{"data set": d.name, "place": str(root / d.folder)} for d in chosen])
    for data_set in chosen:
        out.say(f"{data_set.name}: a fixture, no real image, in {root / data_set.folder}")


def _some(name: str, catalog: Catalog) -> list[Any]:
    try:
        data_sets = catalog.data_sets(name)
    except UserError:
        if Path(name).exists():
            hint = f"Write a tasks file, which names your data, with: {typed('init', name)}"
            raise UserError(f"'{name}' is a path, not the name of a data set or task.", hint) from None
        raise
    if data_sets:
        return data_sets
    entry = catalog.package_card(name)
    if entry is None:
        raise UserError(f"The task {name} needs no data set on disk.", f"Known data sets: {typed('data', 'ls')}")
    raise UserError(
        f"The images of '{name}' are read by the package '{entry.package}', which names no data set to look at.",
        f"Its first cell reads them: {typed('model', 'check', '--task', name)}",
    )


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
    several = len(tables) > 1
    for task, (table, named) in tables.items():
        sets = table.sets(named.id_domains, named.ood_domains)
        for split, index in sets.items():
            groups = len(set(index.groups))
            if split == "train" or groups >= FEW_GROUPS:
                continue
            where = f"{split} of {task}" if several else split
            effect = "differences have no interval"
            if groups > 1:
                effect = f"it cannot show differences below about {100 * smallest_difference(groups):.0f} points"
            lines.append(f"{where} has {counted(len(index), 'image')} of {counted(groups, table.unit)}: {effect}.")
    return lines


def print_splits(tables: ImageTables) -> None:
    """Print images and groups of every split by domain, with a warning for each held-out set of few groups."""
    if not tables:
        return
    units = " or ".join(dict.fromkeys(f"{table.unit}s" for table, _ in tables.values()))
    groups = "groups"
    if units != "groups":
        groups = f"groups ({units})"
    out.say(f"Images of each split, their {groups}, and whether they are used:")
    rows = split_rows(tables)
    for row in rows:
        row["used"] = "yes" if row["used"] else "no"
    out.print(rows_table(rows))
    warnings = split_warnings(tables)
    for warning in warnings:
        out.say(f"Warning: {warning}")
    if warnings:
        out.say(REMEDY)
