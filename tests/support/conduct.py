"""What tests of the conduct of a sweep share: sweeps that compute nothing and can be stopped, edits, what is named."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch
from uuid import uuid4

from reports.words.verify_words import difference_words, note_words

from carft.core.errors import UserError
from carft.core.files import write_json
from carft.store.journal import Line
from carft.store.records import Store
from carft.store.study_file import StudyFile
from reports.build import sources_of
from reports.claims.claim import Verdict
from reports.render.manifest import record_digests
from reports.verify import CHECKS, Case, RecordFiles
from sweeps.recipes.recipe import Recipe
from sweeps.search.protocol import Job, Protocol
from tests.support.dry import parts


def study(store: Store, method: str, search: int = 1) -> StudyFile:
    return next(s for s in store.studies() if (s.method, s.search) == (method, search))


def verdict(store: Store, claim: str = "C3") -> Verdict:
    return next(v for v in sources_of(store).verdicts if v.claim == claim)


def edit_json(path: Path, **changes: Any) -> None:
    """Change a file as an editor would."""
    write_json(path, {**json.loads(path.read_text(encoding="utf-8")), **changes})


def edit_study(store: Store, method: str, **changes: Any) -> None:
    """Change study.json as an editor would; a value of None removes a key."""
    content = {**study(store, method).content(), **changes}
    path = store.root / "studies" / content["id"] / "study.json"
    write_json(path, {name: value for name, value in content.items() if value is not None})


def case_of(store: Store, head: str = "") -> Case:
    """A folder as `report verify` sees it after a report was made of it as it is."""
    case = Case(store, store.root, store.root, head=head)
    in_cells = sum(name.startswith("cells/") for name in record_digests(store))
    case.__dict__["record_files"] = RecordFiles((), in_cells, "")
    return case


def named(store: Store, head: str = "", notes: list[str] | None = None) -> list[str]:
    """What `report verify` says of studies and journal. notes: gets what is no difference."""
    case = case_of(store, head)
    words: list[str] = []
    for check in ("studies against the protocol", "files against the journal"):
        try:
            words += [difference_words(found) for found in CHECKS[check](case) if found is not None]
        except UserError as error:
            words.append(error.message)
    if notes is not None:
        notes += [note_words(note) for note in case.notes]
    return words


@contextmanager
def another_process() -> Iterator[None]:
    """Within the block lines of the journal go to another chain, as those of another process."""
    with patch("carft.store.journal._start", uuid4().hex):
        yield


def work(
    recipe: Recipe,
    store: Store,
    most: int | None = None,
    runs: Callable[[Job], bool] = lambda job: True,
    retry_failed: bool = False,
) -> Protocol:
    """A sweep of cells that compute nothing, in a process of its own; it stops after ``most`` jobs.

    runs: whether a job is run, and not left.
    """
    with another_process():
        protocol = Protocol(recipe, store, retry_failed)
        protocol.commit({})
        protocol.write_studies()
        done = 0
        while most is None or done < most:
            job = protocol.next_job()
            if job is None:
                break
            if runs(job):
                for part in parts(store, job):
                    part()
                protocol.end(job)
                protocol.write_studies()
                done += 1
        store.note("ended")
    return protocol


def lines_with_facts(store: Store) -> list[tuple[Line, dict[str, Any]]]:
    """The lines of the journal in order, each with what it holds beside kind, time and parents."""
    written = {}
    for path in (store.root / "journal").iterdir():
        for text in path.read_bytes().splitlines():
            written[hashlib.sha256(text).hexdigest()] = json.loads(text)
    lines = []
    for line in store.journal().lines.values():
        facts = written[line.digest]
        for name in ("kind", "when", "parents"):
            del facts[name]
        lines.append((line, facts))
    return lines
