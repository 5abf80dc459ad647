"""tasks/<hash of the name>.json and folders.json: the named tasks of a results folder, and where they lie. No torch.

tasks/<hash>.json   what a report needs of a named task; archives hold it
folders.json        name -> path of the folder on this machine; no archive holds it
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

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
    """tasks/<hash>.json: the fields of :class:`carft.data.folder.named.NamedTask`, without the folder."""

    name: str
    version: str
    id_domains: tuple[str, ...]
    ood_domains: tuple[str, ...]
    classes: tuple[str, ...]
    prompts: tuple[str, ...]
    held_out: bool = False
    in_file: bool = False
    group: str = ""
    unit: str = STEM
    metric: str = METRICS[0]
    private: bool = False


class FoldersFile(Document):
    """folders.json."""

    folders: dict[str, str] = Field(default_factory=dict)
    """Name of a task -> path of its folder on this machine."""


def named_tasks(store: Store) -> list[NamedTask]:
    """The named tasks of a results folder, by name. Raises ``CorruptFile`` for a file that cannot be read."""
    folders = _folders(store)
    paths = sorted((store.root / FOLDER).glob("*.json"))
    files = sorted((read_document(path, TaskFile) for path in paths), key=lambda file: file.name)
    return [
        NamedTask(**{key: getattr(file, key) for key in TaskFile.model_fields}, folder=folders.get(file.name, ""))
        for file in files
    ]


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
            write_json(store.root / name, {key: getattr(task, key) for key in TaskFile.model_fields})
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
