"""The journal: what appending a line reads, and what it notices."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from unittest.mock import patch

import pytest
from pydantic import ValidationError

from carft.store.journal import Journal, Line, append_line, read_journal
from carft.store.records import Store
from tests.support.conduct import another_process


def bytes_read() -> int:
    """Bytes that this process has read so far."""
    words = Path("/proc/self/io").read_text(encoding="utf-8").split()
    return int(words[words.index("rchar:") + 1])


def test_a_line_is_appended_without_reading_the_lines_before_it(tmp_path: Path) -> None:
    """Neither those of its own chain nor, where it joins all chains, those of others but their last ones."""
    store = Store(tmp_path)
    with patch("os.fsync"):
        with another_process():
            for _ in range(200):
                store.note("finished", cell="theirs", by="x" * 200)
        for _ in range(200):
            store.note("finished", cell="ours", by="x" * 200)
        size = sum(path.stat().st_size for path in (tmp_path / "journal").iterdir())
        before = bytes_read()
        for number in range(3):
            store.note("selected", cell=f"ours {number}")
        assert bytes_read() - before < size / 2
    journal = store.journal()
    first, *_, last = journal.of("selected")
    assert not journal.problems and len(journal.lines) == 403
    assert all(journal.follows(last, line) for line in journal.of("finished"))
    assert len(first.parents) == len(last.parents) == 1  # the first line of a chain joined them


def test_a_line_does_not_say_which_digest_it_has(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.note("finished", cell="a")
    (chain,) = (tmp_path / "journal").iterdir()
    forged = json.dumps({**json.loads(chain.read_bytes()), "digest": "0" * 64}).encode()
    chain.write_bytes(forged + b"\n")
    ((digest, line),) = store.journal().lines.items()
    assert digest == line.digest == hashlib.sha256(forged).hexdigest()


def test_a_fact_of_another_type_is_not_written(tmp_path: Path) -> None:
    store = Store(tmp_path)
    with pytest.raises(ValidationError):
        store.note("finished", cell=1)
    assert not store.journal().lines


def test_lines_of_earlier_versions_are_read_and_their_kinds_and_keys_left_alone(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.note("finished", cell="a", outcomes={"val": "0"}, made_of=["b"], replaced=["c"])
    for kind in ("digested", "merged", "stored", "failed", "extended", "superseded"):
        store.note(kind, added={"a": {"val": "0"}}, found={"a": "0"}, format=2)
    store.note("ended")
    journal = store.journal()
    assert len(journal.lines) == 8 and not journal.problems and journal.of("finished")[0].cell == "a"


def test_what_a_line_follows_is_the_furthest_that_its_parents_reach() -> None:
    """Chain c names chain b, which had read all of chain a, and then the first line of a itself."""
    chains = {"a1": ("a", 0, []), "a2": ("a", 1, ["a1"]), "b1": ("b", 2, ["a2"]), "c1": ("c", 3, ["b1", "a1"])}
    lines = {name: Line(when="", parents=parents) for name, (_, _, parents) in chains.items()}
    for name, line in lines.items():
        object.__setattr__(line, "digest", name)
    journal = Journal(lines, (), {name: (chain, place) for name, (chain, place, _) in chains.items()})
    assert journal.follows(lines["c1"], lines["a2"]) and not journal.follows(lines["a2"], lines["c1"])
    assert journal.follows(lines["a2"], lines["a1"]) and not journal.follows(lines["a1"], lines["a1"])


@pytest.mark.parametrize(("kind", "joins"), [("planned", True), ("selected", True), ("ended", True), ("opened", False)])
def test_a_plan_a_selection_and_an_end_follow_what_other_processes_did(tmp_path: Path, kind: str, joins: bool) -> None:
    append_line(tmp_path / "own.jsonl", "planned", {})
    other = append_line(tmp_path / "other.jsonl", "finished", {})
    own = append_line(tmp_path / "own.jsonl", kind, {})
    journal = read_journal(tmp_path)
    assert journal.follows(journal.lines[own], journal.lines[other]) == joins


def test_a_line_names_the_line_before_it_first(tmp_path: Path) -> None:
    first, other = (append_line(tmp_path / f"{name}.jsonl", "opened", {}) for name in ("one", "other"))
    with (tmp_path / "one.jsonl").open("a") as stream:
        stream.write(json.dumps({"kind": "opened", "when": "", "parents": [other, first]}) + "\n")
    assert any("does not follow the line before it" in words for words in read_journal(tmp_path).problems)
