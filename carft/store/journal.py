"""The journal of a results folder: what was planned, and what happened, in chains of digests. No torch.

    journal/<writer>.jsonl           one chain for each process that writes: a sweep, a worker of it, a `train`
    journal/<writer>-<number>.jsonl  how it goes on, where an object store gets whole files: a file stays small

Each line is a JSON object and ends with a line end; its digest is the sha256 of its bytes without that. ``parents``
holds the digests of the lines that it follows. The first one is the line before it in its file. The first line of a
file, and lines of the kinds :data:`JOINING`, also name the last lines of other chains. What came first is told by these
digests; times are for people, since clocks of machines differ.

A process that is killed can leave an incomplete last line. It counts for nothing: what a line tells of becomes visible
only after the line is on disk.
"""

import errno
import hashlib
import json
import os
import re
import threading
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any, ClassVar
from uuid import uuid4

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass as checked_dataclass

from carft.core.errors import UserError
from carft.core.files import file_digest, open_plain, sync_folder
from carft.store.document import Document, Json, Shared, empty_dict, empty_list, parse_document

#: the folder
JOURNAL = "journal"
#: kinds of lines that follow the last lines of all chains
JOINING = ("planned", "selected", "ended")
#: bytes that are read at a time to find the last line of a file
BLOCK = 2**12
_lock, _start = threading.Lock(), uuid4().hex
#: what the name of a file holds after that of its writer
_PART = re.compile(r"-\d{6}$")


class StudyPlan(Document):
    """A study in a ``planned`` line."""

    study: str
    task: str
    method: str
    search: int = 1
    trials: int
    """Number of trials."""
    seeds: list[int]
    """Seeds of the confirm cells."""
    oracle: bool = False
    reading: dict[str, Json] = Field(default_factory=dict)
    """Factors that differ from the default reading, the crop among them."""


# no Document, which takes twice as much memory: there is a line for each cell and for each set that was opened
@checked_dataclass(frozen=True, slots=True, kw_only=True, config=ConfigDict(strict=True, allow_inf_nan=False))
class Line:
    """``journal/<writer>.jsonl``: what a process did, one event a line. In object stores a chain goes on in
    ``<writer>-<number>.jsonl``. Lines of earlier versions have other kinds and keys too, which nothing reads."""

    hint: ClassVar[str] = "Correct or remove the broken line; the other lines still count."

    kind: str = "opened"
    """``planned``, ``finished``, ``selected``, ``opened`` or ``ended``."""
    when: str
    parents: list[str] = field(default_factory=empty_list)
    """Digests of the lines that it follows."""
    cell: Shared = ""
    task: Shared = ""
    method: Shared = ""
    files: dict[str, Shared] = field(default_factory=empty_dict)
    """File in the folder of the cell -> sha256."""
    code: Shared = ""
    """Digest of the Python files of ``carft``, which compute cells."""
    set: str = ""
    by: str = ""
    numerics: int = 0
    study: str = ""
    confirm: list[str] = field(default_factory=empty_list)
    winner: str = ""
    """The search cell that validation selected."""
    studies: list[StudyPlan] = field(default_factory=empty_list)
    """The studies of a plan."""
    claims: dict[str, Json] = field(default_factory=empty_dict)
    """Claim -> margin as a share of 1, of a plan."""
    recipe: dict[str, Json] = field(default_factory=empty_dict)
    """The recipe of a plan."""
    suites: list[str] = field(default_factory=empty_list)
    """Suites that a plan evaluates on; none for all."""
    digest: str = field(default="", init=False)
    """Of its bytes; empty for a line that was not read from a journal. No key of the file."""


@dataclass(frozen=True)
class Journal:
    """All chains of a folder."""

    lines: Mapping[str, Line]
    """Digest -> line; each comes after those that it follows."""
    problems: Sequence[str]
    """Where the chains are broken, in words."""
    places: Mapping[str, tuple[str, int]] = field(default_factory=dict)
    """Digest -> (chain, place in it)."""

    def of(self, kind: str) -> list[Line]:
        """The lines of a kind, each after those that it follows."""
        return [line for line in self.lines.values() if line.kind == kind]

    @cached_property
    def _reached(self) -> dict[str, Mapping[str, int]]:
        """Digest -> (other chain -> the last place in it that the line follows). Lines of one chain share it."""
        reached: dict[str, Mapping[str, int]] = {}
        for digest, line in self.lines.items():
            parents = [parent for parent in line.parents if parent in reached]
            if len(parents) == 1 and self.places[parents[0]][0] == self.places[digest][0]:
                reached[digest] = reached[parents[0]]
                continue
            furthest: dict[str, int] = {}
            for parent in parents:
                for chain, place in (*reached[parent].items(), self.places[parent]):
                    furthest[chain] = max(place, furthest.get(chain, -1))
            reached[digest] = furthest
        return reached

    def follows(self, later: Line, earlier: Line) -> bool:
        """Whether a line comes after another one by the digests that it rests on. Times decide nothing."""
        chain, place = self.places[earlier.digest]
        own_chain, own_place = self.places[later.digest]
        if chain == own_chain:
            return place < own_place
        return place <= self._reached[later.digest].get(chain, -1)


def read_journal(folder: Path) -> Journal:
    """Read all chains in ``folder``. What cannot be read, or does not follow, is named in ``problems``."""
    lines: dict[str, Line] = {}
    places: dict[str, tuple[str, int]] = {}
    last: dict[str, str] = {}  # writer -> digest of the line before
    problems = []
    for path in chain_files(folder):
        writer = _writer(path)
        for number, text in enumerate(lines_of(path), 1):
            digest, place = _digest(text), f"line {number} of the journal '{path.name}'"
            before = last.get(writer, "")
            last[writer] = digest
            try:
                line = parse_document(text, Line, Path(path.name))
            except UserError as error:
                problems.append(f"{place} cannot be read: {error.message}")
                continue
            object.__setattr__(line, "digest", digest)
            lines[digest] = line
            places[digest] = (writer, len(places))  # files of a chain are read one after another
            if before and line.parents[:1] != [before]:
                problems.append(f"{place} does not follow the line before it")
            elif before:
                line.parents[0] = before  # one text in memory in place of two
    order = TopologicalSorter({digest: line.parents for digest, line in lines.items()}).static_order()
    in_order: dict[str, Line] = {}
    for digest in order:
        if digest in lines:
            in_order[digest] = lines[digest]
        else:
            problems.append(f"the line {digest[:12]} of the journal, which others follow, is missing")
    return Journal(in_order, problems, places)


#: writer -> file of another chain -> its bytes when the writer last named its last line
_named: dict[str, dict[Path, int]] = defaultdict(dict)


def chain_files(folder: Path) -> list[Path]:
    """The files of all chains in a folder, those of one chain in their order."""
    return sorted(folder.glob("*.jsonl"), key=lambda path: path.stem)


def lines_of(path: Path) -> Iterator[bytes]:
    """Yield the lines of a file without their ends; an incomplete last line is left out."""
    with open_plain(path) as stream:
        for line in stream:
            if line.endswith(b"\n"):
                yield line[:-1]


def own_chain_path(folder: Path, largest: int = 0) -> Path:
    """The file that the next line of this process goes to; it need not exist. A process that is forked off has its own.

    largest: bytes from which on the chain goes on in another file; 0 for one file.
    """
    owner = _digest(os.fsencode(f"{_start} {os.getpid()} {folder.resolve()}"))[:12]
    parts = [path for path in chain_files(folder) if _writer(path) == owner]
    if not parts:
        return folder / f"{owner}.jsonl"
    is_full = largest and parts[-1].stat().st_size >= largest
    return folder / f"{owner}-{len(parts):06}.jsonl" if is_full else parts[-1]


def _writer(path: Path) -> str:
    """The name of the chain that a file belongs to."""
    return _PART.sub("", path.stem)


def append_line(path: Path, kind: str, facts: Mapping[str, Any]) -> str:
    """Append a line to a file of a chain and return its digest. What an earlier write left incomplete is removed.

    Nothing of the lines before is read but the last ones of files that grew.
    """
    with _lock:
        before, end = _last_line(path)
        parents = [before] if before else []
        grown = _grown(path) if kind in JOINING or not before else {}
        for other in grown:
            digest, _ = _last_line(other)
            if digest:
                parents.append(digest)
        when = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        content = {"kind": kind, "when": when, "parents": parents, **facts}
        Line(**content)  # ValidationError for a fact of another type
        text = json.dumps(content, sort_keys=True).encode()
        with path.open("ab", buffering=0) as file:
            file.truncate(end)
            try:
                if file.write(text + b"\n") <= len(text):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
                os.fsync(file.fileno())
            except OSError:
                file.truncate(end)
                raise
        if not end:
            sync_folder(path.parent)
        _named[_writer(path)].update(grown)
        return _digest(text)


def _grown(path: Path) -> dict[Path, int]:
    """The other files of a folder that grew since this writer named their last lines -> bytes; its own ones first."""
    writer = _writer(path)
    grown = {}
    for other in sorted(chain_files(path.parent), key=lambda file: _writer(file) != writer):
        size = other.stat().st_size
        if other != path and size != _named[writer].get(other):
            grown[other] = size
    return grown


def journal_digest(folder: Path) -> str:
    """What ``sha256sum journal/* | sha256sum`` prints in a results folder: it covers every line.

    folder: that of the journal.
    """
    listed = "".join(f"{file_digest(path)}  {JOURNAL}/{path.name}\n" for path in sorted(folder.glob("*.jsonl")))
    return _digest(listed.encode())


def _last_line(path: Path) -> tuple[str, int]:
    """Digest of the last complete line of a file, and where it ends, in bytes; empty and 0 without one."""
    if not path.is_file():
        return "", 0
    start, tail = path.stat().st_size, b""
    with path.open("rb") as stream:
        while start and tail.count(b"\n") < 2:
            size = min(start, BLOCK)
            start -= size
            stream.seek(start)
            tail = stream.read(size) + tail
    whole, line_end, _ = tail.rpartition(b"\n")
    if not line_end:
        return "", 0
    return _digest(whole.rpartition(b"\n")[2]), start + len(whole) + 1


def _digest(text: bytes) -> str:
    return hashlib.sha256(text).hexdigest()
