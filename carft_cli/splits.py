"""Images and groups of every split of your own data by domain, before anything is trained."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from carft.core.errors import UserError
from carft_cli.console import counted, out, rows_table

if TYPE_CHECKING:
    from carft.config.catalog import Catalog
    from carft.data.folder.images import ImageTable
    from carft.data.folder.named import NamedTask

    #: name of a task -> its images, and what names their domains
    ImageTables = Mapping[str, tuple[ImageTable, NamedTask]]

#: groups of a held-out set below which a person is warned
FEW_GROUPS = 10
REMEDY = "To test on more images, name the split of each image in a table with the column split (docs/folder.md)."


def tables_of(tasks: Iterable[str], catalog: Catalog) -> ImageTables:
    """Return task -> its images, of the tasks on your own data that can be read here."""
    tables = {}
    for task in tasks:
        if catalog.is_own(task):
            try:
                tables[task] = catalog.own.table(task), catalog.own.named[task]
            except UserError:
                continue  # the plan names it as an obstacle
    return tables


def split_rows(tables: ImageTables) -> list[dict[str, Any]]:
    """The splits of each task by domain, for `--json`."""
    return [
        {"task": task, **asdict(size)}
        for task, (table, named) in tables.items()
        for size in table.split_sizes(named.id_domains, named.ood_domains)
    ]


def split_warnings(tables: ImageTables) -> list[str]:
    """A sentence for each held-out set of few groups, with the smallest difference that it can show."""
    from reports.stats.power import smallest_difference

    lines = []
    for task, (table, named) in tables.items():
        for held_out, index in table.sets(named.id_domains, named.ood_domains).items():
            groups = len(set(index.groups))
            if held_out == "train" or groups >= FEW_GROUPS:
                continue
            where = f"{held_out} of {task}" if len(tables) > 1 else held_out
            effect = "differences have no interval"
            if groups > 1:
                effect = f"it cannot show differences below about {100 * smallest_difference(groups):.0f} points"
            lines.append(f"{where} has {counted(len(index), 'image')} of {counted(groups, table.unit)}: {effect}.")
    return lines


def print_splits(tables: ImageTables) -> None:
    """Print images and groups of every split by domain, with a warning for each held-out set of few groups."""
    rows = []
    for task, (table, named) in tables.items():
        for domain in table.domains:
            role = "training" if domain in named.id_domains else "shift" if domain in named.ood_domains else "not used"
            row = {"task": task, "domain": domain, "used for": role}
            for size in table.split_sizes(named.id_domains, named.ood_domains):
                if size.domain == domain:
                    row[size.split] = f"{size.images} ({size.groups})" if size.used else f"[{size.images}]"
            rows.append(row)
    if not rows:
        return
    if len(tables) == 1:
        rows = [{heading: text for heading, text in row.items() if heading != "task"} for row in rows]
    units = " or ".join(dict.fromkeys(f"{table.unit}s" for table, _ in tables.values()))
    out.say(f"Images of each split, with the number of {units} in parentheses, and [unused images]:")
    out.print(rows_table(rows))
    warnings = split_warnings(tables)
    for line in (*(f"Warning: {warning}" for warning in warnings), *([REMEDY] if warnings else [])):
        out.say(line)
