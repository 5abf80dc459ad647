"""A YAML file of named tasks on your own data (docs/folder.md). No torch."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from carft.core.errors import UserError, unknown
from carft.core.yaml_file import parse_yaml
from carft.data.folder.named import NamedTask, checked_name, named_task


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class TaskEntry(_Strict):
    """One task."""

    name: str
    """``FAMILY/NAME``, or a name without a family."""
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


class TasksFile(_Strict):
    """The file."""

    tasks: list[TaskEntry] = Field(min_length=1)


def tasks_in(path: Path) -> list[NamedTask]:
    """Return the tasks of a file. Raises ``UserError``, with the line or the name, for what cannot be."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"The tasks file '{path}' cannot be read: {error}.", "Give the path of a YAML file.") from error
    entries = parse_yaml(TasksFile, text, str(path), "tasks file").tasks
    names = [checked_name(entry.name) for entry in entries]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise UserError(f"'{path}' has two tasks called '{twice}'.", "Give each its own name.")
    return [_task(entry, path) for entry in entries]


def _task(entry: TaskEntry, path: Path) -> NamedTask:
    folder = (path.parent / Path(entry.path).expanduser()).resolve()
    domains = entry.id_domains, entry.ood_domains
    return named_task(entry.name, folder, *domains, entry.class_names, entry.prompts, file=str(path), group=entry.group)


def chosen_tasks(found: list[NamedTask], names: list[str], path: Path) -> list[NamedTask]:
    """Return the tasks of these names. Raises ``UserError`` for a name that the file does not have."""
    known = {task.name: task for task in found}
    for name in names:
        if name not in known:
            raise unknown(f"task in '{path}' called", name, known)
    return [known[name] for name in names]
