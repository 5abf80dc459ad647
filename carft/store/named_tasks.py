"""tasks/<hash of the name>.json and folders.json: the named tasks of a results folder, and where they lie. No torch.

tasks/<hash>.json   what a report needs of a named task; archives hold it
folders.json        name -> path of the folder on this machine; no archive holds it
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import fields, replace
from typing import Any

from pydantic import Field

from carft.core.errors import UserError
from carft.core.files import write_json
from carft.data.catalog import declare_tasks, is_known
from carft.data.folder.named import METRICS, NamedTask, declared
from carft.data.folder.tree import STEM
from carft.spec.cell import stable_hash
from carft.store.document import Document, read_document
from carft.store.records import Store

FOLDER, FOLDERS = "tasks", "folders.json"


class TaskFile(Document):
    """tasks/<hash>.json; see :class:`carft.data.folder.named.NamedTask`."""

    name: str
    """Name of the task."""
    version: str
    """Version of the task's data."""
    id_domains: list[str]
    """Domains in distribution."""
    ood_domains: list[str]
    """Domains under shift."""
    classes: list[str]
    """Class names in prompts, in label order."""
    prompts: list[str]
    """One prompt for each domain of the tree."""
    held_out: bool = False
    """Whether the task is one of a folder's leave-one-domain-out tasks."""
    in_file: bool = False
    """Whether a tasks file described the task."""
    group: str = ""
    """Pattern of groups in names of files."""
    unit: str = STEM
    """What a group is called."""
    metric: str = METRICS[0]
    """The metric that decides the task."""
    private: bool = False
    """Whether no picture of its images enters a report."""


class FoldersFile(Document):
    """folders.json."""

    folders: dict[str, str] = Field(default_factory=dict)
    """Name of a task -> path of its folder on this machine."""


def named_tasks(store: Store) -> list[NamedTask]:
    """The named tasks of a results folder, by name. Raises ``CorruptFile`` for a file that cannot be read."""
    folders = _folders(store)
    paths = sorted((store.root / FOLDER).glob("*.json"))
    found = [_task(read_document(path, TaskFile), folders) for path in paths]
    return sorted(found, key=lambda task: task.name)


def load_tasks(store: Store) -> list[NamedTask]:
    """The same, made known to this process."""
    found = named_tasks(store)
    declare_tasks(found)
    return found


def require_task(store: Store, task: str) -> None:
    """Make the named tasks of a results folder known to this process, unless it knows ``task``."""
    if not is_known(task):
        store.refresh(FOLDER, FOLDERS)
        load_tasks(store)


def known_tasks(tasks: Iterable[str]) -> list[NamedTask]:
    """Those of the tasks that are named tasks, as this process knows them."""
    return [found for task in tasks if (found := declared(task)) is not None]


def keep_tasks(store: Store, tasks: Sequence[NamedTask]) -> None:
    """Write named tasks into a results folder, and make them known to this process.

    Raises ``UserError`` for another metric of a task with studies: it would be chosen after results were seen.
    """
    _require_same_metric(store, tasks)
    declare_tasks(tasks)
    for task in tasks:
        name = f"{FOLDER}/{stable_hash(task.name)}.json"
        with store.changing(name):
            store.make(store.root / FOLDER)
            write_json(store.root / name, _content(task))
    if found := {task.name: task.folder for task in tasks if task.folder}:
        with store.changing(FOLDERS):
            write_json(store.root / FOLDERS, FoldersFile(folders=_folders(store) | found).content())


def _require_same_metric(store: Store, tasks: Sequence[NamedTask]) -> None:
    metrics = {task.name: task.metric for task in tasks}
    changed = [old for old in named_tasks(store) if metrics.get(old.name, old.metric) != old.metric]
    searched = {study.task for study in store.studies()} if changed else set()
    for old in changed:
        if old.name in searched:
            raise UserError(
                f"'{old.name}' is decided by {old.metric} in this results folder, and its search began with that.",
                f"Name the tasks file with metric: {old.metric}, or another results folder.",
            )


def _folders(store: Store) -> dict[str, str]:
    path = store.root / FOLDERS
    return read_document(path, FoldersFile).folders if path.is_file() else {}


def _task(file: TaskFile, folders: dict[str, str]) -> NamedTask:
    known = {f.name: getattr(file, f.name) for f in fields(NamedTask) if f.name != "folder"}
    values: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in known.items()}
    return replace(NamedTask(**values), folder=folders.get(file.name, ""))


def _content(task: NamedTask) -> dict[str, Any]:
    values = {f.name: getattr(task, f.name) for f in fields(task) if f.name != "folder"}
    return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}
