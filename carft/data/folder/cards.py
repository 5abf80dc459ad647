"""Cards of tasks on your own data, made from the tree on disk. No torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from carft.core.files import given_path
from carft.data.card import STANDARD, Card
from carft.data.facts import imagenet_templates
from carft.data.folder.layout import read
from carft.data.folder.listing import listed
from carft.data.folder.named import NamedTask, checked_domains, each_left_out, located, version_of
from carft.data.folder.naming import PREFIX, Name, parse
from carft.data.folder.table import TABLES, read_table
from carft.data.sets import DataSet

LICENCE = "Yours; carft copies nothing"


def card_of(name: str) -> Card:
    """Return the card of ``folder:PATH?id=...&ood=...``. Raises ``UserError`` for an invalid tree or choice of domains.

    The name of the card is the canonical one: all domains are listed and the path is absolute.
    """
    tree, parts = located(name, None)
    facts = NamedTask(
        str(parts),
        version_of(tree),
        parts.id_domains,
        parts.ood_domains,
        tree.words,
        tree.prompts,
        unit=tree.unit,
        folder=str(tree.root),
    )
    return replace(named_card(facts), source=_source(tree.root))


def named_card(task: NamedTask) -> Card:
    """Return the card of a named task. It does not say where the folder lies.

    Images of one domain have no known context and no set under shift.
    """
    shift = f"shift to {', '.join(task.ood_domains)}" if task.ood_domains else "no shift"
    contexts = task.prompts if len(task.prompts) > 1 else ()
    return Card(
        name=task.name,
        measures=f"Your own data: trained on {', '.join(task.id_domains)}; {shift}",
        scale="own",
        version=task.version,
        classes=task.classes,
        templates=imagenet_templates(),
        suites=task.ood_domains,
        group=task.unit,
        metric=task.metric,
        licence=LICENCE,
        source="your own folder",
        loader="carft.data.folder.tasks",
        banks={STANDARD: imagenet_templates(), **({"domains": contexts} if contexts else {})},
        contexts=contexts,
    )


def _source(root: Path) -> str:
    return f"the {'table' if root.is_file() else 'folder'} '{root}'"


def folder_task(path: Path | str, id_domains: Sequence[str] = (), ood_domains: Sequence[str] = ()) -> str:
    """Return the canonical name of the task on ``path``. Default: the first domain is in distribution."""
    tree = read(given_path(path))
    return str(checked_domains(Name(tree.root, tuple(id_domains), tuple(ood_domains)), tree))


def leave_one_out(path: Path | str) -> list[str]:
    """Return one task per domain of ``path``, with that domain out of distribution and all others in it."""
    others = each_left_out(read(given_path(path)))
    return [folder_task(path, rest, [held_out]) for held_out, rest in others.items()]


def data_set_of(name: str, named: NamedTask | None = None) -> DataSet:
    """Return your own data as a data set, for ``data check`` and ``data fixture``.

    name, named: the task. The folder of a ``folder:`` task may not exist yet. An index is made again if any file
    changed.
    """
    place, group = (named.folder, named.group) if named else (str(parse(name).path), "")
    path = Path(place)
    if place and path.is_dir():
        listed(path, full=True)
    elif path.is_file() and path.suffix.lower() in TABLES:
        read_table(path.resolve(), group, full=True)
    tree = located(name, named)[0] if named else read(path) if path.exists() else None
    root = tree.root if tree else path
    return DataSet(
        name=name if named else f"{PREFIX}{root}",
        folder=str(tree.base if tree else root),
        measures="Your own data",
        classes=tree.words if tree else (),
        counts={domain: len(index) for domain, index in tree.images.items()} if tree else {},
        licence=LICENCE,
        source=_source(root),
        layout="carft.data.folder.layout",
        table=root.name if root.is_file() else "",
        version=version_of(tree) if tree else "",
        labels=tree.folders if tree else (),
    )
