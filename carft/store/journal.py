"""The journal of a results folder: what was planned, and what happened, in chains of digests. No torch.

    journal/<writer>.jsonl           one chain for each process that writes: a sweep, a worker of it, a `train`, a merge
    journal/<writer>-<number>.jsonl  how it goes on, where an object store gets whole files: a file stays small

Each line is a JSON object and ends with a line end; its digest is the sha256 of its bytes without that. ``parents``
holds the digests of the lines that it follows. The first one is the line before it in its file. The first line of a
file, and lines of the kinds :data:`JOINING`, also name the last lines of all other chains, so that the digest of such a
line, a *head*, covers everything before it. What came first is told by these digests; times are for people.

A process that is killed can leave an incomplete last line. It counts for nothing: what a line tells of becomes visible
only after the line is on disk.
"""

import errno
import hashlib
import heapq
import json
import os
import re
import threading
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar
from uuid import uuid4

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass as checked_dataclass

from carft.core.errors import UserError
from carft.core.files import require_plain_file, sync_folder
from carft.store import limits
from carft.store.document import Document, Json, Shared, empty_dict, empty_list, parse_document

#: the folder
JOURNAL = "journal"
#: kinds of lines that follow the last lines of all chains
JOINING = ("planned", "selected", "digested", "ended", "merged")
#: what lines of this version hold: 2 adds digests of predictions, failures, readings and stored cards to 1
FORMAT = 2
#: what the user of a journal with more lines than are read can do
TOO_MANY_LINES = (
    "Keep it, and raise LINES in carft/store/limits.py. Give each family of tasks a results folder of its own."
)
_lock, _start = threading.Lock(), uuid4().hex
#: what the name of a file holds after that of its writer
_PART = re.compile(r"-\d{6}$")


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
    reading: dict[str, Json] = Field(default_factory=dict)
    """Factors that differ from the default reading, the crop among them."""


# no Document, which takes twice as much memory: there is a line for each cell and for each set that was opened
@checked_dataclass(frozen=True, slots=True, kw_only=True, config=ConfigDict(strict=True, allow_inf_nan=False))
class Line:
    """``journal/<writer>.jsonl``: what a process did, one event a line. In object stores a chain goes on in
    ``<writer>-<number>.jsonl``."""

    hint: ClassVar[str] = "Correct or remove the broken line; the other lines still count."
    largest: ClassVar[int] = limits.LIST

    kind: str = "opened"
    """``planned``, ``selected``, ``finished``, ``failed``, ``opened``, ``extended``, ``superseded``, ``stored``,
    ``digested``, ``merged`` or ``ended``."""
    when: str
    """Time in UTC, as ISO 8601."""
    parents: list[str] = field(default_factory=empty_list)
    """Digests of the lines that it follows."""
    cell: Shared = ""
    """Id of the cell."""
    task: Shared = ""
    """Name of the task."""
    method: Shared = ""
    """Name of the method."""
    made_of: list[str] = field(default_factory=empty_list)
    """Cells of an interpolation or a soup."""
    files: dict[str, Shared] = field(default_factory=empty_dict)
    """File in the folder of the cell -> sha256."""
    code: Shared = ""
    """Digest of the code that computes cells: ``carft``, ``sweeps`` and ``carft_cli`` without comments."""
    plugins: dict[str, str] = field(default_factory=empty_dict)
    """Plugin file of the process -> digest of its text."""
    replaced: list[str] = field(default_factory=empty_list)
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
    confirm: list[str] = field(default_factory=empty_list)
    """Its confirm cells: the winner with fresh seeds."""
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
    stored: dict[str, str] = field(default_factory=empty_dict)
    """File of ``tasks/``, ``cards/`` or ``methods/`` that a plan rests on, or that a command wrote -> sha256."""
    format: int = 1
    """Of a plan: which facts the lines that follow it hold."""
    found: dict[str, str] = field(default_factory=empty_dict)
    """Cell that is older than the journal -> sha256 of its record."""
    outcomes: dict[str, str] = field(default_factory=empty_dict)
    """Set -> digest of image, group, label, context, class and context that were predicted."""
    added: dict[str, dict[str, str]] = field(default_factory=empty_dict)
    """Cell -> set -> the same digest, of cells whose own lines have none; made from records, later."""
    job: str = ""
    """Kind of the job that failed."""
    failure: str = ""
    """Kind of the failure."""
    digest: str = field(default="", init=False)
    """Of its bytes; empty for a line that was not read from a journal. No key of the file."""


@dataclass(frozen=True)
class Journal:
    """All chains of a folder."""

    lines: Mapping[str, Line]
    """Digest -> line; each comes after those that it follows."""
    problems: Sequence[str]
    """Where the chains are broken, in words."""
    chains: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Writer -> digests of its lines."""

    def of(self, *kinds: str) -> list[Line]:
        """The lines of some kinds, each after those that it follows."""
        return [line for line in self.lines.values() if line.kind in kinds]

    @cached_property
    def heads(self) -> list[str]:
        """Digests of the lines that no other line follows, sorted."""
        return sorted(set(self.lines) - _followed(self.lines))

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

    @cached_property
    def _places(self) -> dict[str, tuple[str, int]]:
        """Digest -> (chain, place in it)."""
        places = {}
        for chain, digests in self.chains.items():
            for place, digest in enumerate(digests):
                places[digest] = (chain, place)
        return places

    @cached_property
    def _reached(self) -> dict[str, Mapping[str, int]]:
        """Digest -> (other chain -> the last place in it that the line follows). Lines of one chain share it."""
        reached: dict[str, Mapping[str, int]] = {}
        for digest, line in self.lines.items():
            parents = [parent for parent in line.parents if parent in reached]
            if len(parents) == 1 and self._places[parents[0]][0] == self._places[digest][0]:
                reached[digest] = reached[parents[0]]
                continue
            furthest: dict[str, int] = {}
            for parent in parents:
                for chain, place in (*reached[parent].items(), self._places[parent]):
                    furthest[chain] = max(place, furthest.get(chain, -1))
            reached[digest] = furthest
        return reached

    def follows(self, later: Line, earlier: Line) -> bool:
        """Whether a line comes after another one by the digests that it rests on. Times decide nothing."""
        chain, place = self._places[earlier.digest]
        own_chain, own_place = self._places[later.digest]
        if chain == own_chain:
            return place < own_place
        return place <= self._reached[later.digest].get(chain, -1)

    def first(self, lines: Iterable[Line]) -> list[Line]:
        """Those of some lines that follow none of the others: one, unless several chains do not know each other."""
        lines = list(lines)
        first = []
        for line in lines:
            is_later = any(other is not line and self.follows(line, other) for other in lines)
            if not is_later:
                first.append(line)
        return first

    def is_unfinished(self, line: Line) -> bool:
        """Whether its process may have been killed before what the line tells of was on disk.

        The line is then the last of its chain, or only lines on cells that are written with it come after it: the same
        set of several cells, or several cells that are made of the same ones.
        """
        chain, place = self._places[line.digest]
        is_written_with_others = bool(line.set or line.made_of)
        for digest in self.chains[chain][place + 1 :]:
            other = self.lines[digest]
            is_alike = (other.kind, other.set, other.made_of) == (line.kind, line.set, line.made_of)
            if not is_written_with_others or not is_alike or other.cell == line.cell:
                return False
        return True


def read_journal(folder: Path) -> Journal:
    """Read all chains in ``folder``. What cannot be read, or does not follow, is named in ``problems``.

    Raises ``CorruptFile`` for a chain that is too large.
    """
    lines: dict[str, Line] = {}
    chains: dict[str, list[str]] = defaultdict(list)
    last: dict[str, str] = {}  # writer -> digest of the line before
    problems = []
    for path in chain_files(folder):
        writer = _PART.sub("", path.stem)
        for number, text in enumerate(lines_of(path), 1):
            limits.require_count(folder, len(lines), limits.LINES, "lines", TOO_MANY_LINES)
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
            chains[writer].append(digest)
            if before and line.parents[:1] != [before]:
                problems.append(f"{place} does not follow the line before it")
            elif before:
                line.parents[0] = before  # one text in memory in place of two
    missing = _followed(lines) - set(lines)
    for digest in sorted(missing):
        problems.append(f"the line {digest[:12]} of the journal, which others follow, is missing")
    return Journal(_in_order(lines), problems, chains)


def _followed(lines: Mapping[str, Line]) -> set[str]:
    """Digests of the lines that some line follows."""
    followed = set[str]()
    for line in lines.values():
        followed.update(line.parents)
    return followed


def _in_order(lines: Mapping[str, Line]) -> dict[str, Line]:
    """The lines, each after those that it follows; of lines that do not know each other the earlier time first."""
    followers: dict[str, list[str]] = defaultdict(list)
    waits_for = {}
    ready = []  # (time, digest) of the lines whose parents are in order
    for digest, line in lines.items():
        parents = {parent for parent in line.parents if parent in lines}
        waits_for[digest] = len(parents)
        for parent in parents:
            followers[parent].append(digest)
        if not parents:
            ready.append((line.when, digest))
    heapq.heapify(ready)
    ordered = {}
    while ready:
        _, digest = heapq.heappop(ready)
        ordered[digest] = lines[digest]
        for follower in followers[digest]:
            waits_for[follower] -= 1
            if not waits_for[follower]:
                heapq.heappush(ready, (lines[follower].when, follower))
    return ordered


@dataclass(frozen=True)
class _Seen:
    """What was seen of a file of a chain."""

    state: tuple[int, ...] = ()
    """Device, inode, size and times."""
    start: int = 0
    """Where its last complete line begins, in bytes."""
    end: int = 0
    """Where that ends."""
    last: str = ""
    """Digest of that line."""
    gone: str = ""
    """Digest of the line that stood there before the file was changed; else empty."""


class _Known:
    """What this process knows of the lines of a folder, so that of a file that grew only new lines are read."""

    def __init__(self) -> None:
        self.files: dict[Path, _Seen] = {}
        self.followed = set[str]()
        self.heads = set[str]()
        """Digests of the lines that no other follows."""

    def look(self, path: Path) -> _Seen:
        """What is in a file. Nothing else of a line is looked at than which lines it follows."""
        try:
            now = path.stat()
        except FileNotFoundError:
            return _Seen()
        state = (now.st_dev, now.st_ino, now.st_size, now.st_mtime_ns, now.st_ctime_ns)
        seen = self.files.get(path, _Seen())
        if state == seen.state:
            return seen
        lines, gone = lines_of(path, seen.start), ""
        if seen.last and _digest(next(lines, b"")) != seen.last:
            gone = seen.last
            self.forget()
            lines, seen = lines_of(path), _Seen()
        start, end, last = seen.start, seen.end, seen.last
        for text in lines:
            last = self._add(text)
            start, end = end, end + len(text) + 1
        self.files[path] = _Seen(state, start, end, last, gone)
        return self.files[path]

    def all_heads(self, folder: Path) -> list[str]:
        """Digests of the lines of a folder that no other follows, sorted."""
        paths = chain_files(folder)
        for path in paths:
            self.look(path)
        if self.files.keys() != set(paths):  # a file was removed or changed
            self.forget()
            for path in paths:
                self.look(path)
        return sorted(self.heads)

    def forget(self) -> None:
        """Have every file read anew."""
        self.files.clear()
        self.followed.clear()
        self.heads.clear()

    def _add(self, text: bytes) -> str:
        digest = _digest(text)
        try:
            parents = set(map(str, json.loads(text)["parents"]))
        except (ValueError, KeyError, TypeError):
            return digest  # `read_journal` names it
        self.heads -= parents
        self.followed |= parents
        if digest not in self.followed:
            self.heads.add(digest)
        return digest


#: folder -> what this process knows of its lines
_known: dict[Path, _Known] = defaultdict(_Known)
#: first file of a chain of this process -> number of the file in which it goes on
_parts: dict[Path, int] = {}


def chain_files(folder: Path) -> list[Path]:
    """The files of all chains in a folder, those of one chain in their order."""
    return sorted(folder.glob("*.jsonl"), key=lambda path: path.stem)


def lines_of(path: Path, start: int = 0) -> Iterator[bytes]:
    """Yield the lines of a file without their ends; an incomplete last line is left out. start: first byte to read.

    Raises ``CorruptFile`` for a line that is too large.
    """
    require_plain_file(path)
    with path.open("rb") as stream:
        stream.seek(start)
        while (line := stream.readline(Line.largest + 1)).endswith(b"\n"):
            yield line[:-1]
    limits.require_count(path, len(line), Line.largest, "bytes in a line")


def own_chain_path(folder: Path) -> Path:
    """The file of this process's chain in a folder. It need not exist yet. A process that is forked off has its own."""
    owner = os.fsencode(f"{_start} {os.getpid()} {folder.resolve()}")
    return folder / f"{_digest(owner)[:12]}.jsonl"


def next_part(chain: Path, largest: int) -> Path:
    """The file in which this process's chain goes on: its last one, or a new one once that has ``largest`` bytes."""
    number = _parts.get(chain, 0)
    path = _part(chain, number)
    if path.is_file() and path.stat().st_size >= largest:
        _parts[chain] = number + 1
        path = _part(chain, number + 1)
    return path


def _part(chain: Path, number: int) -> Path:
    return chain.with_stem(f"{chain.stem}-{number:06}") if number else chain


def _part_before(path: Path) -> Path:
    """The file of a chain before another one; this one itself if it is the first."""
    if not _PART.search(path.stem):
        return path
    stem, _, number = path.stem.rpartition("-")
    return _part(path.with_stem(stem), int(number) - 1)


def append_line(path: Path, kind: str, facts: Mapping[str, Any]) -> str:
    """Append a line to a file of a chain and return its digest. What an earlier write left incomplete is removed.

    Of a chain that this process wrote only what others added is read. Where its last line was changed, the new line
    follows the one that is gone, so that the change is seen. Raises ``UserError`` for a line that could not be read.
    """
    with _lock:
        known = _known[path.parent]
        seen = known.look(path)
        last = seen.gone or seen.last or known.look(_part_before(path)).last
        parents = [last] if last else []
        if kind in JOINING or not last:
            parents += known.all_heads(path.parent)
        unique = list(dict.fromkeys(parents))
        when = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        content = {"kind": kind, "when": when, "parents": unique, **facts}
        Line(**content)  # ValidationError for a fact of another type
        text = json.dumps(content, sort_keys=True).encode()
        if len(text) > Line.largest:
            words = f"A line of the journal would have {len(text):,} bytes, and at most {Line.largest:,} are read."
            raise UserError(words, "Split the sweep, by --tasks or --methods.")
        with path.open("ab", buffering=0) as file:
            file.truncate(seen.end)
            try:
                if file.write(text + b"\n") <= len(text):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
                os.fsync(file.fileno())
            except OSError:
                file.truncate(seen.end)
                raise
        if not seen.end:
            sync_folder(path.parent)
        known.look(path)
        return _digest(text)


def _digest(text: bytes) -> str:
    return hashlib.sha256(text).hexdigest()
