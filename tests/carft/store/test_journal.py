"""The journal: what appending a line reads, and what it notices."""

from __future__ import annotations

from pathlib import Path
from unittest.mock import patch

from carft.store.records import Store
from tests.support.conduct import another_process


def bytes_read() -> int:
    """Bytes that this process has read so far."""
    words = Path("/proc/self/io").read_text(encoding="utf-8").split()
    return int(words[words.index("rchar:") + 1])


def test_a_line_is_appended_without_reading_the_lines_before_it(tmp_path: Path) -> None:
    """Neither those of its own chain nor, where it joins all chains, those of others that it has joined before."""
    store = Store(tmp_path)
    with patch("os.fsync"):
        with another_process():
            for _ in range(200):
                store.note("finished", cell="theirs", made_of=["x" * 200])
        for _ in range(200):
            store.note("finished", cell="ours", made_of=["x" * 200])
        store.note("selected", cell="before")
        size = sum(path.stat().st_size for path in (tmp_path / "journal").iterdir())
        before = bytes_read()
        for number in range(10):
            with another_process():
                store.note("finished", cell=f"theirs {number}")
            store.note("selected", cell=f"ours {number}")
        assert bytes_read() - before < size / 2
    journal = store.journal()
    assert not journal.problems and journal.head and len(journal.covered(journal.head)) == 421


def test_a_last_line_that_was_changed_between_two_appends_is_seen(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.note("finished", cell="a")
    store.note("finished", cell="b")
    (chain,) = (tmp_path / "journal").iterdir()
    chain.write_bytes(chain.read_bytes().replace(b'"cell": "b"', b'"cell": "c"'))
    store.note("finished", cell="d")
    assert any("does not follow the line before it" in problem for problem in store.journal().problems)
