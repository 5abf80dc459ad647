"""The journal of a results folder: what was planned, and what happened, in chains of digests. No torch.

    journal/<writer>.jsonl    one chain for each process that writes: a sweep, a worker of it, a `train`, a merge

Each line is a JSON object and ends with a line end; its digest is the sha256 of its bytes without that. ``parents``
holds the digests of the lines that it follows. The first one is the line before it in its file. The first line of a
file, and lines of the kinds :data:`JOINING`, also name the last lines of all other chains, so that the digest of such a
line, a *head*, covers everything before it.

A process that is killed can leave an incomplete last line. It counts for nothing: what a line tells of becomes visible
only after the line is on disk.
"""

import errno
import hashlib
import json
import os
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar
from uuid import uuid4

from pydantic import Field

from carft.core.errors import UserError
from carft.store.document import Document, Json, parse_document

#: the folder, and the log of accesses to held-out sets that versions without a journal wrote
JOURNAL, LOG = "journal", "unsealed.jsonl"
#: kinds of lines that follow the last lines of all chains
JOINING = ("planned", "ended", "merged")
_lock, _start = threading.Lock(), uuid4().hex


class StudyPlan(Document):
    """A study in a ``planned`` line."""

    study: str
    """Id of the study."""
    task: str
    """Name of the task."""
    method: str
    """Name of the method."""
    search: int = 1
    """Number among the independent searches of the same task, method and reading, from 1."""
    trials: int
    """Number of trials."""
    seeds: list[int]
    """Seeds of the confirm cells."""
    oracle: bool = False


class Line(Document):
    """``journal/<writer>.jsonl``: what a process did, one event a line. ``unsealed.jsonl``, of earlier versions, holds
    such lines of evaluations on held-out sets, without kind and parents."""

    hint: ClassVar[str] = "Correct or remove the broken line; the other lines still count."

    kind: str = "opened"
    """``planned``, ``selected``, ``finished``, ``opened``, ``extended``, ``superseded``, ``merged`` or ``ended``."""
    when: str
    """Time in UTC, as ISO 8601."""
    parents: list[str] = Field(default_factory=list)
    """Digests of the lines that it follows."""
    cell: str = ""
    """Id of the cell."""
    task: str = ""
    """Name of the task."""
    method: str = ""
    """Name of the method."""
    made_of: list[str] = Field(default_factory=list)
    """Cells of an interpolation or a soup."""
    files: dict[str, str] = Field(default_factory=dict)
    """File in the folder of the cell -> sha256."""
    code: str = ""
    """Digest of the code that computes cells: ``carft``, ``sweeps`` and ``carft_cli`` without comments."""
    plugins: dict[str, str] = Field(default_factory=dict)
    """Plugin file of the process -> digest of its text."""
    replaced: list[str] = Field(default_factory=list)
    """Functions of this package that other code replaced."""
    set: str = ""
    """Held-out set: ``test`` or ``ood/<suite>``."""
    by: str = ""
    """Command that evaluated the cell, such as ``sweep``."""
    numerics: int = 0
    """``NUMERICS`` of the code."""
    study: str = ""
    """Id of the study."""
    trials: int = 0
    """Number of trials."""
    confirm: list[str] = Field(default_factory=list)
    """Its confirm cells: the winner with fresh seeds."""
    winner: str = ""
    """The search cell that validation selected."""
    studies: list[StudyPlan] = Field(default_factory=list)
    """The studies of a plan."""
    claims: dict[str, Json] = Field(default_factory=dict)
    """Claim -> margin as a share of 1, of a plan."""
    recipe: dict[str, Json] = Field(default_factory=dict)
    """The recipe of a plan."""
    found: dict[str, str] = Field(default_factory=dict)
    """Cell that is older than the journal -> sha256 of its record."""


@dataclass(frozen=True)
class Journal:
    """All chains of a folder."""

    lines: Mapping[str, Line]
    """Digest -> line, in the order of their times."""
    problems: Sequence[str]
    """Where the chains are broken, in words."""

    def of(self, *kinds: str) -> list[Line]:
        """The lines of some kinds, in the order of their times."""
        return [line for line in self.lines.values() if line.kind in kinds]

    @cached_property
    def heads(self) -> list[str]:
        """Digests of the lines that no other line follows, sorted."""
        followed = {parent for line in self.lines.values() for parent in line.parents}
        return sorted(set(self.lines) - followed)

    @property
    def head(self) -> str:
        """The digest that covers all lines; empty without lines, and where several processes wrote the last ones."""
        return self.heads[0] if len(self.heads) == 1 else ""

    def covered(self, head: str) -> set[str]:
        """Digests of the lines that a head covers; empty for one that is not of this journal."""
        waiting, covered = [head], set[str]()
        while waiting:
            digest = waiting.pop()
            if digest in self.lines and digest not in covered:
                covered.add(digest)
                waiting += self.lines[digest].parents
        return covered


def read_journal(folder: Path) -> Journal:
    """Read all chains in ``folder``. What cannot be read, or does not follow, is named in ``problems``."""
    lines: dict[str, Line] = {}
    problems = []
    for path in sorted(folder.glob("*.jsonl")):
        *whole, _ = path.read_bytes().split(b"\n")
        before = ""
        for number, text in enumerate(whole, 1):
            digest, place = _digest(text), f"line {number} of the journal '{path.name}'"
            try:
                lines[digest] = parse_document(text, Line, path)
                if before and lines[digest].parents[:1] != [before]:
                    problems.append(f"{place} does not follow the line before it")
            except UserError as error:
                problems.append(f"{place} cannot be read: {error.message}")
            before = digest
    missing = {parent for line in lines.values() for parent in line.parents} - set(lines)
    problems += [f"the line {line[:12]} of the journal, which others follow, is missing" for line in sorted(missing)]
    return Journal(dict(sorted(lines.items(), key=lambda item: item[1].when)), problems)


def own_chain_path(folder: Path) -> Path:
    """The file of this process's chain in a folder. It need not exist yet. A process that is forked off has its own."""
    owner = os.fsencode(f"{_start} {os.getpid()} {folder.resolve()}")
    return folder / f"{_digest(owner)[:12]}.jsonl"


def append_line(chain: Path, kind: str, facts: Mapping[str, Any]) -> str:
    """Append a line to a chain and return its digest. What an earlier write left incomplete is removed."""
    with _lock:
        content = chain.read_bytes() if chain.is_file() else b""
        *whole, _ = content.split(b"\n")
        heads = read_journal(chain.parent).heads if kind in JOINING or not whole else []
        parents = list(dict.fromkeys([*map(_digest, whole[-1:]), *heads]))
        when = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        line = Line.model_validate({"kind": kind, "when": when, "parents": parents, **facts})
        text = json.dumps(line.content(), sort_keys=True).encode()
        with chain.open("ab", buffering=0) as file:
            size = content.rfind(b"\n") + 1
            file.truncate(size)
            try:
                if file.write(text + b"\n") <= len(text):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(chain))
                os.fsync(file.fileno())
            except OSError:
                file.truncate(size)
                raise
        return _digest(text)


def _digest(text: bytes) -> str:
    return hashlib.sha256(text).hexdigest()
