"""Named tasks on your own data, such as ``emoji/animals``. No torch.

The specification of a cell holds the name and the version of the data. Where the folder lies is known to this machine
alone.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from carft.core.errors import UserError
from carft.core.files import given_path
from carft.data.folder.layout import read
from carft.data.folder.naming import Name, chosen, is_folder, parse
from carft.data.folder.table import TABLES
from carft.data.folder.tree import STEM, Tree, checked_pattern
from carft.data.folder.words import words_of

#: metrics that a task can be decided in; the first is the default
METRICS = ("top1", "mean_per_class")
#: between a name and a path
EQUALS = "="
#: most characters of a name that a user gives
LONGEST = 60
_PART = r"[^\W_][\w .+()-]*"
_NAME = re.compile(rf"{_PART}(?:/{_PART})?")
#: not allowed as the name of a suite: records use it for means over suites
RESERVED = "mean"


@dataclass(frozen=True)
class NamedTask:
    """A named task."""

    name: str
    """``family/task``, or one word for a task without a family."""
    version: str
    """Version of the data: the digest of the tree, and that of domains, class names and prompts."""
    id_domains: tuple[str, ...]
    """Domains in distribution, sorted."""
    ood_domains: tuple[str, ...]
    """Domains under shift, sorted."""
    classes: tuple[str, ...]
    """Class names in prompts, in label order."""
    prompts: tuple[str, ...]
    """One prompt for each domain of the tree, by domain."""
    held_out: bool = False
    """Whether the task is one of a folder's leave-one-domain-out tasks."""
    in_file: bool = False
    """Whether a tasks file describes the task."""
    group: str = ""
    """Pattern of groups in names of files; empty where the layout gives the groups."""
    unit: str = STEM
    """What a group is called."""
    metric: str = METRICS[0]
    """The metric that decides the task; see :class:`carft.data.card.Card`. No part of the version: records hold all."""
    private: bool = False
    """Whether no picture of its images enters a report. No part of the version."""
    folder: str = ""
    """Path of the folder or table on this machine; empty where that is not known."""

    @property
    def base(self) -> str:
        """Path of the folder that the images lie below; empty where that is not known."""
        return str(Path(self.folder).parent) if Path(self.folder).suffix.lower() in TABLES else self.folder

    @property
    def family(self) -> str:
        """What stands before the last slash of the name; empty for a task without a family."""
        return self.name.rpartition("/")[0]


def is_named(task: str) -> bool:
    """Return whether ``task`` names a folder, as ``emoji/animals=PATH``."""
    return not is_folder(task) and EQUALS in task


def split_name(task: str) -> tuple[str, Path]:
    """Return name and path of ``emoji/animals=PATH``. Raises ``UserError`` for a name that cannot be."""
    name, _, path = task.partition(EQUALS)
    name, path = checked_name(name.strip()), path.strip()
    if not path:
        raise UserError(f"The task '{name}' has no folder.", f"Write {name}=PATH.")
    return name, given_path(path).resolve()


def checked_name(name: str) -> str:
    """Return the name of a task unchanged. Raises ``UserError`` for one that cannot be."""
    if not _NAME.fullmatch(name) or len(name) > LONGEST:
        raise UserError(
            f"'{name}' cannot be the name of a task.",
            f"Write NAME or FAMILY/NAME, with at most {LONGEST} letters, digits, spaces or . + - _ ( ).",
        )
    return name


def named_task(
    name: str,
    path: Path,
    id_domains: Sequence[str] = (),
    ood_domains: Sequence[str] = (),
    class_names: Mapping[str, str] | None = None,
    prompts: Mapping[str, str] | None = None,
    held_out: bool = False,
    file: str = "",
    group: str = "",
) -> NamedTask:
    """Return the named task on the tree below ``path``.

    class_names: class folder -> words, prompts: domain -> prompt; both before the JSON files of the tree. file: the
    tasks file that gives them. group: pattern of groups. Raises ``UserError`` for an invalid tree, domain, class name,
    prompt or pattern.
    """
    tree = read(path, checked_pattern(group, file or name))
    domains = checked_domains(Name(tree.root, tuple(id_domains), tuple(ood_domains)), tree)
    words, shown = words_of(tree, class_names or {}, prompts or {}, file or name)
    facts = [domains.id_domains, domains.ood_domains, words, shown, *([group] if group else [])]
    version = f"{version_of(tree)}-{hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:8]}"
    return NamedTask(
        name=name,
        version=version,
        id_domains=domains.id_domains,
        ood_domains=domains.ood_domains,
        classes=words,
        prompts=shown,
        held_out=held_out,
        in_file=bool(file),
        group=group,
        unit=tree.unit,
        folder=str(tree.root),
    )


def held_out_tasks(name: str, path: Path) -> list[NamedTask]:
    """Return one named task for each domain of ``path``, with that domain under shift and all others not."""
    others = each_left_out(read(path))
    return [named_task(f"{name}/{one}", path, rest, [one], held_out=True) for one, rest in others.items()]


def each_left_out(tree: Tree) -> dict[str, list[str]]:
    """Return domain -> the others. Raises ``UserError`` if there is one only, which cannot be left out."""
    if len(tree.domains) < 2:
        raise UserError(f"'{tree.root}' has one domain, and none can be left out.", "Leave --leave-one-out out.")
    return {held_out: [d for d in tree.domains if d != held_out] for held_out in tree.domains}


def version_of(tree: Tree) -> str:
    """Return the version of the data of a tree."""
    return f"folder-{tree.digest}"


def checked_domains(asked: Name, tree: Tree) -> Name:
    """Return the choice of domains, filled in. Raises ``UserError`` for one that cannot be."""
    found = chosen(asked, tree.domains)
    if RESERVED in found.ood_domains:
        raise UserError(f"A domain out of distribution cannot be called '{RESERVED}'.", "Rename its folder.")
    return found


def located(task: str, named: NamedTask | None) -> tuple[Tree, Name]:
    """Return the tree of a task on your own data, and its domains.

    named: the task, if it is a named one. Raises ``UserError`` for an invalid tree, and for a named task whose folder
    is not known here.
    """
    if is_folder(task):
        asked, group = parse(task), ""
    elif named is not None and named.folder:
        asked, group = Name(Path(named.folder), named.id_domains, named.ood_domains), named.group
    else:
        raise UserError(
            f"Where the images of '{task}' lie on this machine is not known.", f"Name the folder: {task}=PATH"
        )
    tree = read(asked.path, group)
    return tree, checked_domains(asked, tree)
