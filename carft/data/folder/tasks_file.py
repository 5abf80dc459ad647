"""A YAML file of named tasks on your own data (docs/folder.md). No torch."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from carft.core.errors import UserError, unknown
from carft.core.files import given_path
from carft.core.yaml_file import line_of, parse_yaml
from carft.data.folder.named import NamedTask, checked_name, named_task

#: name of the file where a folder is given
DEFAULT = "carft.yaml"


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
    metric: Literal["top1", "mean_per_class"] = "top1"
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
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"The tasks file '{path}' cannot be read: {error}.", "Give the path of a YAML file.") from error
    entries = parse_yaml(TasksFile, text, str(path), "tasks file").tasks
    names = [entry.full_name(family) for entry in entries]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise UserError(f"'{path}' has two tasks called '{twice}'.", "Give each its own name.")
    found = []
    for number, entry in enumerate(entries):
        try:
            found.append(_task(entry, path, family))
        except UserError as error:
            line = line_of(text, ["tasks", str(number)])
            raise UserError(f"{path}, line {line}: {error.message}", error.hint) from error
    return found


def _task(entry: TaskEntry, path: Path, family: str) -> NamedTask:
    folder = (path.parent / given_path(entry.path)).resolve()
    domains = entry.id_domains, entry.ood_domains
    words = entry.class_names, entry.prompts
    name = checked_name(entry.full_name(family))
    found = named_task(name, folder, *domains, *words, file=str(path), group=entry.group)
    return replace(found, metric=entry.metric, private=entry.private)


def chosen_tasks(found: list[NamedTask], names: list[str], path: Path) -> list[NamedTask]:
    """Return the tasks of these names. Raises ``UserError`` for a name that the file does not have."""
    known = {task.name: task for task in found}
    for name in names:
        if name not in known:
            raise unknown(f"task in '{path}' called", name, known)
    return [known[name] for name in names]
