"""Images and groups of every split of your own data by domain, before anything is trained."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from carft.core.errors import UserError
from carft_cli.console import counted, labelled, out, rows_table

if TYPE_CHECKING:
    from carft.data.folder.naming import Name
    from carft.data.folder.tree import Tree
    from carft.spec.catalog import Catalog

    #: task -> tree and domains
    Trees = Mapping[str, tuple[Tree, Name]]

#: groups of a held-out set below which a person is warned
FEW_GROUPS = 10
REMEDY = "To test on more images, name the split of each image in a table with the column split (docs/folder.md)."


def trees_of(tasks: Iterable[str], catalog: Catalog) -> Trees:
    """Return task -> tree and domains, of the tasks on your own data that can be read here."""
    trees = {}
    for task in tasks:
        if catalog.is_own(task):
            try:
                trees[task] = catalog.own.located(task)
            except UserError:
                continue  # the plan names it as an obstacle
    return trees


def split_rows(trees: Trees) -> list[dict[str, Any]]:
    """The splits of each task by domain, for `--json`."""
    return [
        {"task": task, **asdict(size)}
        for task, (tree, name) in trees.items()
        for size in tree.split_sizes(name.id_domains, name.ood_domains)
    ]


def split_warnings(trees: Trees) -> list[str]:
    """A sentence for each held-out set of few groups, with the smallest difference that it can show."""
    from carft.data.folder.naming import labels
    from reports.stats.power import smallest_difference

    shown = labels(trees)
    lines = []
    for task, (tree, name) in trees.items():
        for held_out, index in tree.sets(name.id_domains, name.ood_domains).items():
            groups = len(set(index.groups))
            if held_out == "train" or groups >= FEW_GROUPS:
                continue
            where = f"{held_out} of {shown[task]}" if len(trees) > 1 else held_out
            effect = "differences have no interval"
            if groups > 1:
                effect = f"it cannot show differences below about {100 * smallest_difference(groups):.0f} points"
            lines.append(f"{where} has {counted(len(index), 'image')} of {counted(groups, tree.unit)}: {effect}.")
    return lines


def print_splits(trees: Trees) -> None:
    """Print images and groups of every split by domain, with a warning for each held-out set of few groups."""
    rows = []
    for task, (tree, name) in trees.items():
        for domain in tree.domains:
            role = "training" if domain in name.id_domains else "shift" if domain in name.ood_domains else "not used"
            row = {"task": task, "domain": domain, "used for": role}
            for size in tree.split_sizes(name.id_domains, name.ood_domains):
                if size.domain == domain:
                    row[size.split] = f"{size.images} ({size.groups})" if size.used else f"[{size.images}]"
            rows.append(row)
    if not rows:
        return
    if len(trees) == 1:
        rows = [{heading: text for heading, text in row.items() if heading != "task"} for row in rows]
    units = " or ".join(dict.fromkeys(f"{tree.unit}s" for tree, _ in trees.values()))
    out.say(f"Images of each split, with the number of {units} in parentheses, and [unused images]:")
    out.print(rows_table(labelled(rows)))
    warnings = split_warnings(trees)
    for line in (*(f"Warning: {warning}" for warning in warnings), *([REMEDY] if warnings else [])):
        out.say(line)
