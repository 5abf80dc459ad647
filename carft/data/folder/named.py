"""Tasks on your own data: by path, by name as ``emoji/animals=PATH``, and in YAML files (docs/folder.md). No torch.

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
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from carft.core.errors import UserError, unknown
from carft.core.files import given_path, read_given
from carft.core.yaml_file import line_of, parse_yaml
from carft.data.folder.images import STEM, ImageTable, checked_pattern, class_words, domain_prompts
from carft.data.folder.naming import Name, chosen, is_folder, parse
from carft.data.folder.reading import read
from carft.data.folder.tables import TABLES

#: between a name and a path
EQUALS = "="
#: most characters of a name that a user gives
LONGEST = 60
_PART = r"[^\W_][\w .+()-]*"
_NAME = re.compile(rf"{_PART}(?:/{_PART})?")
#: not allowed as the name of a suite: records use it for means over suites
RESERVED = "mean"
#: name of the tasks file where a folder is given
DEFAULT = "carft.yaml"
#: the metrics that a task can be decided in
Metric = Literal["top1", "mean_per_class"]


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
    metric: Metric = "top1"
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
    metric: Metric = "top1",
    private: bool = False,
) -> NamedTask:
    """Return the named task on the folder or table ``path``.

    class_names: class folder -> words, prompts: domain -> prompt; both before the JSON files of the tree. file: the
    tasks file that gives them. group: pattern of groups. metric, private: as of :class:`NamedTask`. Raises
    ``UserError`` for invalid data, and an invalid domain, class name, prompt or pattern.
    """
    table = read(path, checked_pattern(group, file or name))
    domains = checked_domains(Name(table.root, tuple(id_domains), tuple(ood_domains)), table)
    words = dict(zip(table.folders, table.words, strict=True)) | dict(class_names or {})
    shown = dict(zip(table.domains, table.prompts, strict=True)) | dict(prompts or {})
    classes = class_words(table.folders, words, file or name)
    contexts = domain_prompts(table.domains, shown, file or name)
    facts = [domains.id_domains, domains.ood_domains, classes, contexts, *([group] if group else [])]
    return NamedTask(
        name=name,
        version=f"{table.version}-{hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:8]}",
        id_domains=domains.id_domains,
        ood_domains=domains.ood_domains,
        classes=classes,
        prompts=contexts,
        held_out=held_out,
        in_file=bool(file),
        group=group,
        unit=table.unit,
        metric=metric,
        private=private,
        folder=str(table.root),
    )


def folder_task(path: Path | str, id_domains: Sequence[str] = (), ood_domains: Sequence[str] = ()) -> str:
    """Return the canonical name of the task on ``path``. Default: the first domain is in distribution."""
    table = read(given_path(path))
    return str(checked_domains(Name(table.root, tuple(id_domains), tuple(ood_domains)), table))


def leave_one_out(path: Path | str) -> list[str]:
    """Return one task per domain of ``path``, with that domain out of distribution and all others in it."""
    return [folder_task(path, rest, [held_out]) for held_out, rest in _each_left_out(given_path(path)).items()]


def held_out_tasks(name: str, path: Path) -> list[NamedTask]:
    """Return one named task for each domain of ``path``, with that domain under shift and all others not."""
    others = _each_left_out(path)
    return [named_task(f"{name}/{one}", path, rest, [one], held_out=True) for one, rest in others.items()]


def _each_left_out(path: Path) -> dict[str, list[str]]:
    """Return domain -> the others. Raises ``UserError`` if there is one only, which cannot be left out."""
    table = read(path)
    if len(table.domains) < 2:
        raise UserError(f"'{table.root}' has one domain, and none can be left out.", "Leave --leave-one-out out.")
    return {held_out: [d for d in table.domains if d != held_out] for held_out in table.domains}


def checked_domains(asked: Name, table: ImageTable) -> Name:
    """Return the choice of domains, filled in. Raises ``UserError`` for one that cannot be."""
    name = chosen(asked, table.domains)
    if RESERVED in name.ood_domains:
        raise UserError(f"A domain out of distribution cannot be called '{RESERVED}'.", "Rename its folder.")
    return name


def located(task: str, named: NamedTask | None, full: bool = False) -> tuple[ImageTable, Name]:
    """Return the images of a task on your own data, and its domains.

    named: the task, if it is a named one. full: as of :func:`read`. Raises ``UserError`` for invalid data, and for a
    named task whose folder is not known here.
    """
    if is_folder(task):
        asked, group = parse(task), ""
    elif named is not None and named.folder:
        asked, group = Name(Path(named.folder), named.id_domains, named.ood_domains), named.group
    else:
        raise UserError(
            f"Where the images of '{task}' lie on this machine is not known.", f"Name the folder: {task}=PATH"
        )
    table = read(asked.path, group, full)
    return table, checked_domains(asked, table)


# tasks files


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class TaskEntry(_Strict):
    """One task."""

    name: str
    """``FAMILY/NAME``, or a name without a family."""
    family: str = ""
    """The family, where ``name`` does not say it."""
    path: str
    """The folder or table; a relative path is one from the file's own folder."""
    id_domains: list[str] = []
    """Domains to train on; default: the first."""
    ood_domains: list[str] = []
    """Domains under shift; default: the others."""
    class_names: dict[str, str] = {}
    """Class folder -> words."""
    prompts: dict[str, str] = {}
    """Domain -> prompt with one ``{}``."""
    group: str = ""
    """Regular expression that finds the group of an image in the name of its file; default: the file's stem."""
    metric: Metric = "top1"
    """The metric that decides the task."""
    private: bool = False
    """Whether no picture of its images enters a report."""

    def full_name(self, family: str) -> str:
        """Name with family. family: where neither ``family`` nor ``name`` says it."""
        return in_family(self.name, self.family or ("" if "/" in self.name else family))


class TasksFile(_Strict):
    """The file."""

    tasks: list[TaskEntry] = Field(min_length=1)


def in_family(name: str, family: str) -> str:
    """Return the name of a task with its family, if it has one."""
    return f"{family}/{name}" if family else name


def tasks_in(path: Path, family: str = "") -> list[NamedTask]:
    """Return the tasks of a file, or of the ``carft.yaml`` of a folder. family: of the tasks that name none.

    Raises ``UserError``, with the line, for what cannot be.
    """
    path = path / DEFAULT if path.is_dir() else path
    text = read_given(path, "tasks file", "Give the path of a YAML file.")
    entries = parse_yaml(TasksFile, text, str(path), "tasks file").tasks
    names = [entry.full_name(family) for entry in entries]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise UserError(f"'{path}' has two tasks called '{twice}'.", "Give each its own name.")
    tasks = []
    for number, entry in enumerate(entries):
        try:
            folder = (path.parent / given_path(entry.path)).resolve()
            facts = entry.model_dump(exclude={"name", "family", "path"})
            tasks.append(named_task(checked_name(names[number]), folder, file=str(path), **facts))
        except UserError as error:
            line = line_of(text, ["tasks", str(number)])
            raise UserError(f"{path}, line {line}: {error.message}", error.hint) from error
    return tasks


def chosen_tasks(tasks: list[NamedTask], names: list[str], path: Path) -> list[NamedTask]:
    """Return the tasks of these names. Raises ``UserError`` for a name that the file does not have."""
    by_name = {task.name: task for task in tasks}
    for name in names:
        if name not in by_name:
            raise unknown(f"task in '{path}' called", name, by_name)
    return [by_name[name] for name in names]
