"""Cards of tasks on your own data, made from the tree on disk. No torch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from carft.core.errors import UserError
from carft.data.card import STANDARD, Card
from carft.data.facts import imagenet_templates
from carft.data.folder.layout import Tree, read
from carft.data.folder.naming import PREFIX, Name, chosen, parse
from carft.data.sets import DataSet

LICENCE = "Yours; carft copies nothing"
#: not allowed as the name of a suite: records use it for means over suites
RESERVED = "mean"


def card_of(name: str) -> Card:
    """Return the card of ``folder:PATH?id=...&ood=...``. Raises ``UserError`` for an invalid tree or choice of domains.

    The name of the card is the canonical one: all domains are listed and the path is absolute.
    """
    tree, parts = _opened(parse(name))
    return Card(
        name=str(parts),
        measures=f"Your own data: trained on {', '.join(parts.id_domains)}; shift to {', '.join(parts.ood_domains)}",
        scale="own",
        version=f"folder-{tree.digest}",
        classes=tree.words,
        templates=imagenet_templates(),
        suites=parts.ood_domains,
        group="file stem",
        metric="top1",
        licence=LICENCE,
        source=f"the folder '{tree.root}'",
        model="ViT-B-16",
        pretrained="openai",
        loader="carft.data.folder.tasks",
        banks={STANDARD: imagenet_templates(), "domains": tree.prompts},
        contexts=tree.prompts,
    )


def _absolute(path: Path | str) -> Path:
    return Path(path).expanduser().resolve()


def _opened(asked: Name) -> tuple[Tree, Name]:
    tree = read(asked.path)
    parts = chosen(asked, tree.domains)
    if RESERVED in parts.ood_domains:
        raise UserError(f"A domain out of distribution cannot be called '{RESERVED}'.", "Rename its folder.")
    return tree, parts


def folder_task(path: Path | str, id_domains: Sequence[str] = (), ood_domains: Sequence[str] = ()) -> str:
    """Return the canonical name of the task on ``path``. Default: the first domain is in distribution."""
    return str(_opened(Name(_absolute(path), tuple(id_domains), tuple(ood_domains)))[1])


def leave_one_out(path: Path | str) -> list[str]:
    """Return one task per domain of ``path``, with that domain out of distribution and all others in it."""
    root = _absolute(path)
    domains = read(root).domains
    return [folder_task(root, [d for d in domains if d != held_out], [held_out]) for held_out in domains]


def data_set_of(name: str) -> DataSet:
    """Return the tree as a data set, for ``data check`` and ``data fixture``. The folder may not exist yet."""
    root = parse(name).path
    tree = read(root) if root.exists() else None
    return DataSet(
        name=f"{PREFIX}{root}",
        folder=str(root),
        measures="Your own data",
        classes=tree.words if tree else (),
        counts={domain: len(index) for domain, index in tree.images.items()} if tree else {},
        licence=LICENCE,
        source=f"the folder '{root}'",
        layout="carft.data.folder.layout",
        version=f"folder-{tree.digest}" if tree else "",
        labels=tree.folders if tree else (),
    )
