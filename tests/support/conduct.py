"""What tests of the conduct of a sweep share: sweeps that compute nothing and can be stopped, edits, what is named."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch
from uuid import uuid4

from carft.core.files import write_json
from carft.store.records import Store
from carft.store.study_file import StudyFile
from reports.judge.claims.claim import Verdict
from reports.verify import broken_rules
from sweeps.recipes.recipe import Recipe
from sweeps.search.protocol import Job, Protocol
from tests.support.dry import parts
from tests.support.reading import judged_of


def study(store: Store, method: str, search: int = 1) -> StudyFile:
    return next(s for s in store.studies() if (s.method, s.search) == (method, search))


def verdict(store: Store, claim: str = "C3") -> Verdict:
    return next(v for v in judged_of(store).verdicts if v.claim == claim)


def edit_json(path: Path, **changes: Any) -> None:
    """Change a file as an editor would."""
    write_json(path, {**json.loads(path.read_text(encoding="utf-8")), **changes})


def edit_study(store: Store, method: str, **changes: Any) -> None:
    """Change study.json as an editor would; a value of None removes a key."""
    content = {**study(store, method).content(), **changes}
    path = store.root / "studies" / content["id"] / "study.json"
    write_json(path, {name: value for name, value in content.items() if value is not None})


def wrong(store: Store) -> list[str]:
    """What `report verify` says of studies and journal."""
    return broken_rules(judged_of(store).evidence)


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


def note_again(store: Store, change: Callable[[dict[str, Any]], None]) -> None:
    """Write the whole journal again, each line after it was changed."""
    written = {}
    for path in (store.root / "journal").iterdir():
        for text in path.read_bytes().splitlines():
            written[hashlib.sha256(text).hexdigest()] = json.loads(text)
    in_order = list(store.journal().lines)
    shutil.rmtree(store.root / "journal")
    for digest in in_order:
        facts = written[digest]
        change(facts)
        kind = facts.pop("kind")
        del facts["when"], facts["parents"]
        store.note(kind, **facts)
