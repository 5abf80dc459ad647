"""Files of results, archives and data that were changed by chance, and the commands that must survive them.

    python -m tests.support.hostile 5000 --seed 1 [--first N]

changes that many files, in one case after another, and prints every command that ended in a traceback, took more than
ten seconds of computing, or more than 2 GB of memory. Exit code 1 where one did. Case N of a seed is always the same.
"""

from __future__ import annotations

import argparse
import copy
import csv
import hashlib
import io
import json
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any
from unittest.mock import patch

import pyarrow as pa
import pyarrow.parquet as pq

from carft.config.cell import Cell
from carft.core.errors import UserError
from carft.data.sets import picture
from carft.store.archive import MANIFEST, SCHEMA, pack, unpack
from carft.store.failures import write_failure
from carft.store.records import Store
from carft.store.sweep_state import Counts, SweepState, write_state
from reports.figures.figure import figures
from tests.support.folder import keep_tasks, named_task, write_tasks
from tests.support.helpers import LR, quick_cell, run_cli
from tests.support.planted import Plan, plant

#: seconds of computing that a command may take, and bytes of memory beyond what its process held before
SECONDS, BYTES = 10.0, 1.5 * 10**9
#: seconds after which a command counts as hanging, on a machine that does other things too
HANGING = 60
#: files that a case changes at most
MOST = 16
SMALL = Plan({"zeroshot": 0.5, "ft": 0.6, "car_ft": 0.7}, {"zeroshot": 0.9, "ft": 0.6, "car_ft": 0.8}, (1, 2), groups=4)
VALUES: Sequence[Any] = (
    None, True, -1, 0, 1, 0.5, -1e308, 1e308, 2**31, 2**63, -(2**63), 10**400, float("nan"), float("inf"), "", "x",
    "../../x", "/", "test", "ood/mean", "ood/hands", "val/top1", "=1+1", "$x$", "\x1b]0;x\x07", "\u202e", "\ud800",
    "\0", "ft",
    "<script>", "[bold]", "%s{}", "x" * 100_000, [], {}, [[]], [1], ["x"], [None], {"a": {}}, {"": None}, {"lr": [0]},
)  # fmt: skip


@dataclass(frozen=True)
class Command:
    """A command that was given, and how it ended."""

    words: Sequence[str]
    seconds: float
    bytes: int
    code: int
    said: str

    @property
    def failed(self) -> bool:
        return "Traceback" in self.said or self.seconds > SECONDS or self.bytes > BYTES


@dataclass
class Case:
    """One folder with some files that were changed, and the commands on it."""

    seed: int
    number: int
    folder: Path
    """An empty folder."""
    changed: list[str] = field(default_factory=list)
    commands: list[Command] = field(default_factory=list)
    rng: Random = field(init=False)

    def __post_init__(self) -> None:
        self.rng = Random(f"{self.seed} {self.number}")

    def give(self, *words: object) -> int:
        """Run a command of ``cli.py`` in this process."""
        _forget_peak()
        held, start = _peak(), time.process_time()
        signal.signal(signal.SIGALRM, _hangs)
        signal.alarm(HANGING)
        try:
            done = run_cli(*words)
        except Hanging:
            done = subprocess.CompletedProcess(words, 1, "", "Traceback of a command that does not end")
        finally:
            signal.alarm(0)
        seconds, said = time.process_time() - start, done.stdout[-2000:] + done.stderr[-6000:]
        self.commands.append(Command([str(w) for w in words], seconds, _peak() - held, done.returncode, said))
        return done.returncode


@dataclass(frozen=True)
class Templates:
    """Whole folders and archives, which cases change copies of."""

    results: Path
    compact: Path
    archives: Sequence[Path]
    data: Path


def make_templates(folder: Path) -> Templates:
    """Write every kind of file that the commands read, below a folder."""
    data = folder / "data"
    for label, kind in enumerate(("cat", "dog")):
        for domain, name in enumerate(("photo", "sketch")):
            (data / name / kind).mkdir(parents=True)
            for number in range(12):
                picture(label, domain, number).save(data / name / kind / f"{kind}-{number}.png")
    write_tasks(data, {"name": "own", "path": ".", "prompts": {"photo": "a photo of a {}."}})
    store = Store(folder / "results")
    plant(store, ("icons-3/mix-1",), SMALL, trials=2, curves=True)
    keep_tasks(store, [named_task("own", data)])
    cell = quick_cell("ft", lr=LR)
    write_failure(store, cell, "diverged", "it broke", "details", "search")
    counts = Counts(total=3, done=1)
    state = SweepState(recipe="small", host="host", pid=1, started=1.0, updated=2.0, counts=counts)
    write_state(store, state)
    store.put("suites/chosen.json", {"suites": ["hands"]})
    pack(store, folder / "whole.zip")
    pack(store, folder / "compact.zip", compact=True)
    unpack(folder / "compact.zip", folder / "compact")
    archives = (folder / "whole.zip", folder / "compact.zip")
    return Templates(store.root, folder / "compact", archives, data)


def run_case(case: Case, templates: Templates) -> None:
    """Change files of one kind of folder, and give the commands that read it."""
    kind = case.rng.choices(KINDS, [6, 3, 1])[0]
    drawn = figures() if case.rng.random() < 0.04 else {"answer": figures()["answer"]}  # drawing takes most of the time
    with patch.dict(figures(), dict(drawn), clear=True):
        kind(case, templates)


def of_results(case: Case, templates: Templates) -> None:
    """A results folder of which some files were changed."""
    origin = case.rng.choice((templates.results, templates.results, templates.compact))
    results = case.folder / "results"
    shutil.copytree(origin, results)
    for _ in range(case.rng.randint(1, MOST)):
        change_one(case, results)
    give_on_results(case, results, origin)


def of_archive(case: Case, templates: Templates) -> None:
    """An archive that was changed: its bytes, or a file in it together with its digest in the manifest."""
    origin = case.rng.choice(templates.archives)
    archive, results = case.folder / "a.zip", case.folder / "imported"
    if case.rng.random() < 0.3:
        archive.write_bytes(changed_bytes(case.rng, origin.read_bytes()))
        case.changed.append(f"bytes of {origin.name}")
    else:
        write_changed_archive(case, origin, archive)
    if case.give("results", "import", archive, "--to", results) == 0:
        give_on_results(case, results, templates.results)


def of_data(case: Case, templates: Templates) -> None:
    """Images in folders or in a table, and the file that describes the task."""
    data = case.folder / "data"
    shutil.copytree(templates.data, data)
    tasks = data / "carft.yaml"
    if case.rng.random() < 0.5:
        rows = [(path.relative_to(data).as_posix(), path.parts[-2], path.parts[-3]) for path in data.glob("*/*/*.png")]
        with (data / "images.csv").open("w", newline="") as stream:
            csv.writer(stream).writerows([("image", "label", "domain"), *sorted(rows)])
        tasks.write_text(tasks.read_text().replace("path: .", "path: images.csv"))
    for _ in range(case.rng.randint(1, MOST)):
        listed = [path for path in data.rglob("*") if path.is_file() and not path.is_symlink()]
        texts = [path for path in listed if path.suffix in (".yaml", ".csv")]
        change_file(case, case.rng.choice(texts if texts and case.rng.random() < 0.6 else listed), data)
    case.give("data", "check", "own", "--tasks-file", tasks)
    case.give("ls", "data", "--data", data)


KINDS: Sequence[Callable[[Case, Templates], None]] = (of_results, of_archive, of_data)


def give_on_results(case: Case, results: Path, other: Path) -> None:
    """Commands on a results folder: some that are quick, and now and then a report."""
    cells, where = sorted(path.name for path in results.glob("cells/*")) or ["x"], ("--results", results)
    quick: Sequence[Sequence[object]] = (
        ("ls", "cells", *where),
        ("ls", "studies", *where, "--json"),
        ("status", *where),
        ("ls", "cells", case.rng.choice(cells), *where),
        ("results", "gc", *where),
        ("results", "export", case.folder / "whole.zip", *where),
        ("results", "export", case.folder / "compact.zip", "--compact", *where),
        ("results", "merge", results, other, "--to", case.folder / "merged"),
    )
    for words in case.rng.sample(quick, 2):
        case.give(*words)
    out = ("--out", case.folder / "report")
    chance = case.rng.random()
    if chance < 0.25:
        case.give("report", "--no-images", *where, *out)
    if chance < 0.1 and (case.folder / "report" / MANIFEST).is_file():
        change_one_of(case, sorted((case.folder / "report").glob("*.json")), case.folder)
        case.give("report", "verify", *where, *out)
        case.give("report", "why", case.rng.choice(("C3", "tasks.icons-3/mix-1/ft.test_top1", "x.y.z", "")), *where)


def change_one(case: Case, results: Path) -> None:
    """Change a file of a results folder: first a kind of file is drawn, then one of them."""
    patterns = (
        *("cells/*/record.json", "cells/*/spec.json", "cells/*/evaluations/*.json", "cells/*/*.parquet"),
        *("cells/*/evaluations/*.parquet", "predictions/*.parquet", "studies/*/study.json", "journal/*.jsonl"),
        *("failures/*.json", "sweeps/*.json", "tasks/*.json", "suites/*.json", "*.json*"),
    )
    found = [sorted(path for path in results.glob(pattern) if path.is_file()) for pattern in patterns]
    if any(found):
        change_one_of(case, case.rng.choice([paths for paths in found if paths]), results)


def change_one_of(case: Case, paths: Sequence[Path], root: Path) -> None:
    if paths:
        change_file(case, case.rng.choice(paths), root)


def change_file(case: Case, path: Path, root: Path) -> None:
    """Change a file by its kind, its bytes, or put something else in its place."""
    rng, name, drawn = case.rng, path.relative_to(root), case.rng.random()
    if drawn < 0.05:
        how = replace_file(rng, path)
    elif path.name == "spec.json" and drawn < 0.7:
        how = change_spec(rng, path, root)
    elif drawn < 0.2:
        how = "bytes"
        path.write_bytes(changed_bytes(rng, path.read_bytes()))
    else:
        path.write_bytes(changed_content(rng, path.name, path.read_bytes()))
        how = "content"
    case.changed.append(f"{name}: {how}")


def replace_file(rng: Random, path: Path) -> str:
    """Put a folder, a link, an empty file or a named pipe in the place of a file, or nothing."""
    how = rng.choice(("folder", "link to a folder", "link to itself", "empty", "missing", "named pipe"))
    path.unlink()
    if how == "folder":
        path.mkdir()
    elif how == "link to a folder":
        path.symlink_to(path.parent)
    elif how == "link to itself":
        path.symlink_to(path)
    elif how == "empty":
        path.write_bytes(b"")
    elif how == "named pipe":
        os.mkfifo(path)
    return how


def change_spec(rng: Random, path: Path, results: Path) -> str:
    """Change what a cell is, and its id wherever it stands, so that the files still agree."""
    content, before = changed_json(rng, json.loads(path.read_bytes())), path.parent.name
    path.write_text(json.dumps(content))
    with suppress(UserError, TypeError, AttributeError, ValueError, ArithmeticError):
        own = Cell.from_dict(content).id
        if not (results / "cells" / own).exists():
            path.parent.rename(results / "cells" / own)
            for text in (*results.glob("studies/*/study.json"), *results.glob(f"cells/{own}/record.json")):
                if text.is_file():
                    text.write_bytes(text.read_bytes().replace(before.encode(), own.encode()))
            return "another cell"
    return "content"


def changed_content(rng: Random, name: str, content: bytes) -> bytes:
    """The content of a file with something else in it, by the kind of file that its name says."""
    ending = name.rpartition(".")[2]
    with suppress(ValueError, RecursionError):
        if ending == "json":
            return json.dumps(changed_json(rng, json.loads(content))).encode(errors="surrogatepass")
        if ending == "jsonl":
            lines = content.splitlines(keepends=True)
            place = rng.randrange(len(lines))
            lines[place] = json.dumps(changed_json(rng, json.loads(lines[place]))).encode() + b"\n"
            return b"".join(lines)
    if ending == "parquet":
        with suppress(pa.ArrowException, OSError, ValueError, TypeError):
            return changed_table(rng, content)
    if ending in ("yaml", "csv"):
        words = content.decode(errors="replace").replace("\n", " \n ").split(" ")
        words[rng.randrange(len(words))] = str(rng.choice((*VALUES, "&a", "*a", "- ", "{", '"', "!!python/x", ",")))
        return " ".join(words).replace(" \n ", "\n").encode(errors="replace")
    return changed_bytes(rng, content)


def changed_bytes(rng: Random, content: bytes) -> bytes:
    """Bytes of which some are set, cut off, inserted or dropped."""
    made = bytearray(content)
    for _ in range(rng.randint(1, 4)):
        place = rng.randrange(len(made) + 1)
        if rng.random() < 0.5:  # the ends of Parquet files and archives say what is in them
            place = max(0, len(made) - rng.randrange(400))
        how = rng.choice(("set", "set", "set", "cut", "insert", "drop"))
        if how == "set" and place < len(made):
            made[place] = rng.randrange(256)
        elif how == "cut":
            del made[place:]
        elif how == "insert":
            made[place:place] = rng.randbytes(rng.randint(1, 8))
        elif how == "drop":
            del made[place : place + rng.randint(1, 50)]
    return bytes(made)


def changed_json(rng: Random, content: Any) -> Any:
    """JSON with something in it replaced, removed, added or renamed, once to three times."""
    for _ in range(rng.choice((1, 1, 2, 3))):
        places = list(_places(content)) if isinstance(content, dict | list) else []
        if not places or rng.random() < 0.02:
            return _value(rng)
        inside, key = rng.choice(places)
        how = rng.choice(("replace", "replace", "replace", "remove", "add", "rename", "swap", "negate"))
        if how == "remove":
            del inside[key]
        elif how == "add" and isinstance(inside, dict):
            inside[str(_value(rng))] = _value(rng)
        elif how == "rename" and isinstance(inside, dict):
            inside[rng.choice(("x", "", *map(str, inside)))] = inside.pop(key)
        elif how == "swap":
            other, where = rng.choice(places)
            inside[key] = copy.deepcopy(other[where])
        elif how == "negate" and isinstance(inside[key], int | float):
            inside[key] = rng.choice((-1, 0, 0.5, 1e9)) * inside[key]
        else:
            inside[key] = _value(rng)
    return content


def _value(rng: Random) -> Any:
    return copy.deepcopy(rng.choice(VALUES))


def _places(content: Any) -> Iterator[tuple[Any, Any]]:
    """(dict or list, key or index) of every value in JSON."""
    keys = list(content) if isinstance(content, dict) else list(range(len(content)))
    for key in keys:
        yield content, key
        if isinstance(content[key], dict | list):
            yield from _places(content[key])


def changed_table(rng: Random, content: bytes) -> bytes:
    """A Parquet file with another column, other rows, or many more of them."""
    table = pq.read_table(io.BytesIO(content))
    k = rng.randrange(table.num_columns)
    name, column, count = table.column_names[k], table.column(k), table.num_rows
    other = rng.choice(
        (
            lambda: pa.array([rng.choice((-1, -2, 2**15, 2**31 - 1, 2**40, 10**6)) for _ in range(count)]),
            lambda: pa.array([rng.choice((0.5, float("nan"), -1.0, 1e300)) for _ in range(count)]),
            lambda: pa.array(["x"] * count),
            lambda: pa.array([None] * count, column.type),
            lambda: pa.nulls(count),
            lambda: pa.array([[1, 2]] * count),
            lambda: pa.array([{"a": 1}] * count),
            lambda: pa.array([b"\xff\xfe"] * count).cast(pa.string(), safe=False),
            lambda: pa.array([b"x"] * count),
            lambda: pa.array([True] * count),
            lambda: pa.array([0] * count, pa.timestamp("s")),
            lambda: column.combine_chunks().dictionary_encode(),
            lambda: pa.FixedSizeListArray.from_arrays(pa.array([float("nan")] * 3 * count), 3),
        )
    )
    how = rng.choice(("remove", "rename", "type", "type", "type", "empty", "fewer", "order", "twice", "more", "note"))
    note = {b"carft:subset": rng.choice((b"[]", b"[-1]", b"[0]", b"x", b"[1, 0]", b"{}", b"[99]", b"null"))}
    changes: dict[str, Callable[[], pa.Table]] = {
        "remove": lambda: table.remove_column(k),
        "rename": lambda: table.rename_columns(["x" if n == name else n for n in table.column_names]),
        "type": lambda: table.set_column(k, name, other()),
        "empty": lambda: table.slice(0, 0),
        "fewer": lambda: table.slice(0, max(1, count - 1)),
        "order": lambda: table.take(rng.sample(range(count), count)),
        "twice": lambda: table.append_column(name, column),
        "more": lambda: table.take(pa.array([0] * rng.choice((1000, 3_000_000)))),
        "note": lambda: table.replace_schema_metadata(note),
    }
    made = io.BytesIO()
    pq.write_table(changes[how](), made)
    return made.getvalue()


def write_changed_archive(case: Case, origin: Path, archive: Path) -> None:
    """An archive of which files were changed, or that has one more; its manifest says so."""
    rng = case.rng
    with zipfile.ZipFile(origin) as stream:
        files = {name: stream.read(name) for name in stream.namelist()}
    manifest = json.loads(files.pop(MANIFEST))
    for _ in range(rng.randint(1, MOST)):
        name = rng.choice(sorted(files))
        how = rng.choice(("content", "content", "bytes", "name"))
        if how == "name":
            wanted = rng.choice(("../x", "/x", "cells/../../x", "cells/a\\b", "cells/x/y/z", "report/x", "LICENCES.md"))
            files[wanted] = files.pop(name)
        elif how == "bytes":
            files[name] = changed_bytes(rng, files[name])
        else:
            files[name] = changed_content(rng, name, files[name])
        case.changed.append(f"{name} in {origin.name}: {how}")
    digests = {
        n: {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)} for n, content in files.items()
    }
    manifest = {**manifest, "schema": manifest.get("schema", SCHEMA), "files": digests}
    if rng.random() < 0.2:
        manifest = changed_json(rng, manifest)
        case.changed.append("manifest")
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as stream:
        for name, content in {MANIFEST: json.dumps(manifest).encode(), **files}.items():
            with suppress(UnicodeEncodeError, ValueError):
                stream.writestr(name, content)


class Hanging(BaseException):
    """A command does not end."""


def _hangs(*_: object) -> None:
    raise Hanging


def _forget_peak() -> None:
    Path("/proc/self/clear_refs").write_text("5")


def _peak() -> int:
    """The most memory that this process held since it was last asked to forget that, in bytes."""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    line = next(line for line in status.splitlines() if line.startswith("VmHWM"))
    return 1024 * int(line.split()[1])


def _in_child(seed: int, number: int, templates: Templates, answers: Any) -> None:
    with tempfile.TemporaryDirectory() as folder, patch("os.fsync", lambda descriptor: None):
        case = Case(seed, number, Path(folder))
        try:
            run_case(case, templates)
        finally:
            answers.send((case.changed, case.commands))


def main() -> int:
    """Run cases until enough files were changed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("count", type=int, help="files to change")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--first", type=int, default=0, help="number of the first case")
    asked = parser.parse_args()
    changes, commands, failures, number = 0, 0, 0, asked.first
    longest, largest, codes = 0.0, 0, dict[int, int]()
    context = multiprocessing.get_context("fork")
    with tempfile.TemporaryDirectory() as folder, patch("os.fsync", lambda descriptor: None):
        templates = make_templates(Path(folder))
        while changes < asked.count:
            receiver, sender = context.Pipe(duplex=False)
            child = context.Process(target=_in_child, args=(asked.seed, number, templates, sender))
            child.start()
            sender.close()
            answer = None
            with suppress(EOFError):
                answer = receiver.recv() if receiver.poll(20 * HANGING) else None
            if answer is None:
                child.kill()
                failures, changes = failures + 1, changes + 1
                print(f"case {number}: no answer, exit code {child.exitcode}", flush=True)
            else:
                changed, given = answer
                changes, commands = changes + len(changed), commands + len(given)
                for command in given:
                    longest, largest = max(longest, command.seconds), max(largest, command.bytes)
                    codes[command.code] = codes.get(command.code, 0) + 1
                    if command.failed:
                        failures += 1
                        print(f"case {number}: {changed}\n{command}\n{command.said}\n", flush=True)
            child.join()
            number += 1
            if number % 50 == 0:
                print(f"{number} cases, {changes} files, {commands} commands, {failures} failures", flush=True)
    print(
        f"seed {asked.seed}, cases {asked.first} to {number - 1}: {changes} files changed, {commands} commands, exit "
        f"codes {dict(sorted(codes.items()))}, {failures} failures; "
        f"longest {longest:.1f} s, at most {largest / 1e9:.2f} GB more"
    )
    return int(failures > 0)


if __name__ == "__main__":
    sys.exit(main())
