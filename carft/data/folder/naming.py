"""Names of tasks on your own data: ``folder:PATH?id=photo,scan&ood=sketch``. No torch."""

from __future__ import annotations

import itertools
import re
import shutil
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import quote, unquote

from carft.core.errors import UserError
from carft.core.files import given_path

PREFIX = "folder:"
#: most characters of what a task is called in tables
LONGEST = 48
#: least width of a column of labels
NARROW = 16
_OPTIONS = re.compile(r"(?:id|ood)=[^=&]*(?:&(?:id|ood)=[^=&]*)?")


@dataclass(frozen=True)
class Name:
    """The parts of a task's name."""

    path: Path
    id_domains: tuple[str, ...] = ()
    """Domains in distribution; empty for the default."""
    ood_domains: tuple[str, ...] = ()
    """Domains out of distribution; empty for the default."""

    def __str__(self) -> str:
        options = {"id": self.id_domains, "ood": self.ood_domains}
        given = [f"{key}={','.join(quote(d, safe='') for d in domains)}" for key, domains in options.items() if domains]
        return f"{PREFIX}{self.path}" + ("?" + "&".join(given) if given else "")


def is_folder(task: str) -> bool:
    """Return whether a task is on your own data."""
    return task.startswith(PREFIX)


def parse(task: str) -> Name:
    """Return the parts of a name, with an absolute path. Raises ``UserError`` without a path or for invalid options."""
    rest = task.removeprefix(PREFIX)
    path, mark, query = rest.rpartition("?")
    if not mark or (not _OPTIONS.fullmatch(query) and given_path(rest).is_dir()):  # a path may hold a "?"
        path, mark, query = rest, "", ""
    if not path or (mark and not _OPTIONS.fullmatch(query)):
        raise UserError(
            f"'{task}' does not name a folder of images.",
            "Write folder:PATH, or folder:PATH?id=photo,scan&ood=sketch to choose the domains.",
        )
    return Name(given_path(path).resolve(), _domains(query, "id"), _domains(query, "ood"))


def _domains(query: str, key: str) -> tuple[str, ...]:
    for option in query.split("&"):
        name, _, value = option.partition("=")
        if name == key:
            return tuple(unquote(part) for part in value.split(",") if part)
    return ()


def without_place(task: str) -> str:
    """Return the task with PATH in place of the path of your own data, for what is published."""
    return str(replace(parse(task), path=Path("PATH"))) if is_folder(task) else task


def chosen(name: Name, domains: Sequence[str]) -> Name:
    """Return the name with all domains filled in and sorted. By default the first is in distribution, the rest out.
    A single domain is in distribution.

    Raises ``UserError`` for an unknown domain, a domain on both sides, or a side without domains.
    """
    for asked in (*name.id_domains, *name.ood_domains):
        if asked not in domains:
            raise UserError(f"'{name.path}' has no domain '{asked}'.", f"Its domains: {', '.join(domains)}.")
    if both := sorted(set(name.id_domains) & set(name.ood_domains)):
        raise UserError(f"The domain '{both[0]}' cannot be both in and out of distribution.")
    if len(domains) == 1:
        return Name(name.path, (domains[0],))
    inside = name.id_domains or (domains[:1] if not name.ood_domains else _without(domains, name.ood_domains))
    outside = name.ood_domains or _without(domains, inside)
    if not inside or not outside:
        raise UserError(
            f"No domain of '{name.path}' is left {'out of' if inside else 'in'} distribution.",
            f"Leave at least one out of each list. Its domains: {', '.join(domains)}.",
        )
    return Name(name.path, tuple(sorted(set(inside))), tuple(sorted(set(outside))))


def _without(domains: Sequence[str], others: Sequence[str]) -> tuple[str, ...]:
    return tuple(d for d in domains if d not in others)


def labels(tasks: Iterable[str]) -> dict[str, str]:
    """Return task -> what people are shown of it: its name, or for ``folder:`` tasks the name of the folder.

    No two tasks have one label. Folders of one name are told apart by the folders above them, tasks on one folder by
    their domains.
    """
    every = sorted(set(tasks))
    names = {task: name for task in every if (name := _parsed(task)) is not None}
    found = {task: task for task in every if task not in names}
    ends = _ends({name.path for name in names.values()})
    for task, name in names.items():
        label = _short(ends[name.path] + _domains_shown(name, [n for n in names.values() if n.path == name.path]))
        numbered = (f"{label} ({number})" for number in itertools.count(2))
        taken = set(found.values())
        found[task] = next(one for one in itertools.chain([label], numbered) if one not in taken)
    return found


def break_label(label: str, others: int) -> str:
    """Return a label in lines that are broken after ``/``, ``-``, ``_`` or a space, for a column of a terminal's table.

    others: columns of the terminal that the rest of the table needs. Where that leaves too few, the label stays whole.
    """
    if (width := shutil.get_terminal_size().columns - others) < NARROW:
        return label
    lines = [""]
    for piece in re.split("(?<=[/_ -])", label):
        if lines[-1] and len(lines[-1]) + len(piece) > width:
            lines.append("")
        lines[-1] += piece
    return "\n".join(lines)


def _parsed(task: str) -> Name | None:
    try:
        return parse(task) if is_folder(task) else None
    except UserError:
        return None


def _ends(paths: set[Path]) -> dict[Path, str]:
    """Return path -> its shortest ending that no other path has."""
    found: dict[Path, str] = {}
    count = 1
    while left := paths - set(found):
        ends = {path: "/".join(path.parts[-count:]) for path in paths}
        often = Counter(ends.values())
        found |= {path: ends[path] for path in left if often[ends[path]] == 1 or count >= len(path.parts)}
        count += 1
    return found


def _domains_shown(name: Name, same: Sequence[Name]) -> str:
    """Return what tells the tasks on one folder apart: nothing for one task, else the domains under shift, or both."""
    if len(same) == 1:
        return ""
    shift = "+".join(name.ood_domains)
    alone = sum(other.ood_domains == name.ood_domains for other in same) == 1
    return f"/{shift}" if alone else f"/{'+'.join(name.id_domains)} to {shift}"


def _short(label: str) -> str:
    plain = "".join(c if c.isprintable() else "?" for c in label)
    half = LONGEST // 2
    return plain if len(plain) <= LONGEST else f"{plain[: half - 1]}…{plain[-half:]}"
