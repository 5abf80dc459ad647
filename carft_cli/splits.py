"""Images and groups of every split of your own data by domain, before anything is trained."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import product
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
    """Images and groups of every split by domain; of a domain under shift, only the test split is used."""
    from carft.data.folder.images import SPLITS

    rows: list[dict[str, Any]] = []
    for task, (table, named) in tables.items():
        for domain, split in product(table.domains, SPLITS):
            part, used = table.part(domain, split), domain in named.id_domains
            used = used or (domain in named.ood_domains and split == "test")
            sizes = {"images": len(part), "groups": len(set(part.groups)), "used": used}
            rows.append({"task": task, "domain": domain, "split": split, **sizes})
    return rows


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
    if not tables:
        return
    rows: dict[tuple[str, str], dict[str, str]] = {}
    for size in split_rows(tables):
        task, domain = size["task"], size["domain"]
        named = tables[task][1]
        role = "training" if domain in named.id_domains else "shift" if domain in named.ood_domains else "not used"
        heading = {"task": task} if len(tables) > 1 else {}
        row = rows.setdefault((task, domain), {**heading, "domain": domain, "used for": role})
        row[size["split"]] = f"{size['images']} ({size['groups']})" if size["used"] else f"[{size['images']}]"
    units = " or ".join(dict.fromkeys(f"{table.unit}s" for table, _ in tables.values()))
    out.say(f"Images of each split, with the number of {units} in parentheses, and [unused images]:")
    out.print(rows_table(list(rows.values())))
    warnings = split_warnings(tables)
    for line in (*(f"Warning: {warning}" for warning in warnings), *([REMEDY] if warnings else [])):
        out.say(line)
