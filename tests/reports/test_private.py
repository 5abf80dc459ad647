"""What a report and an archive say of failed cells and of places on this machine."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import pytest

from carft.catalog.resolve import specify
from carft.core.failure_kinds import FailureKind
from carft.store.failures import Failure, read_failure, write_failure
from carft.store.journal import journal_digest
from carft.store.records import Store
from reports.build import build_report
from reports.verify import verify
from tests.support.helpers import TASK, run_cli
from tests.support.planted import QUICK, plant

pytestmark = pytest.mark.usefixtures("few_figures")

PATIENT = "Jane_Doe_1984"
SECRET = "/srv/ward-7/weights.pt"


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Results with a cell that failed at an image that is named after a patient."""
    store = Store(tmp_path_factory.mktemp("private") / "results")
    plant(store, [TASK], QUICK)
    log = store.root.with_name("job.log")
    log.write_text(f"reading {PATIENT}.png\n")
    cell = specify(TASK, "ft", {"lr": 1.0}, 7)
    image = f"/srv/data/{PATIENT}.png"
    details = f"Traceback: {image}, {Path.home()}/code.py, {store.root}/cells"
    write_failure(store, cell, FailureKind.UNREADABLE, f"The image '{image}' cannot be read.", details, "search", log)
    return store


def texts(folder: Path) -> str:
    return "\n".join(path.read_text(errors="replace") for path in sorted(folder.rglob("*")) if path.is_file())


def failure_of(store: Store) -> Failure:
    (cell,) = store.failed()
    failure = read_failure(store, cell)
    assert failure is not None
    return failure


def test_neither_report_nor_archive_names_the_file_of_a_failed_cell(store: Store, tmp_path: Path) -> None:
    report, archive, theirs = tmp_path / "report", tmp_path / "results.zip", tmp_path / "theirs"
    built = build_report(store, report)
    assert any(PATIENT in words for words in built.warnings)  # the person at the terminal can act
    assert PATIENT not in texts(report) and f"({FailureKind.UNREADABLE}, attempt 1)" in texts(report)
    assert run_cli("results", "export", archive, "--results", store.root).returncode == 0
    assert run_cli("results", "import", archive, "--to", theirs).returncode == 0
    assert PATIENT not in texts(theirs)
    assert (failure_of(Store(theirs)).kind, failure_of(Store(theirs)).attempt) == (FailureKind.UNREADABLE, 1)
    assert verify(Store(theirs), report).holds


def test_reason_traceback_and_log_of_a_failed_cell_are_in_an_archive_when_asked_for(
    store: Store, tmp_path: Path
) -> None:
    report, archive, theirs = tmp_path / "report", tmp_path / "results.zip", tmp_path / "theirs"
    build_report(store, report)
    done = run_cli("results", "export", archive, "--failures", "--results", store.root)
    assert "will hold reason, traceback and log of 1 failed cell" in done.stderr
    run_cli("results", "import", archive, "--to", theirs)
    assert failure_of(Store(theirs)) == failure_of(store)
    assert verify(Store(theirs), report).holds


def test_export_says_which_paths_an_older_journal_holds_and_the_journal_stays_as_it_is(
    store: Store, tmp_path: Path
) -> None:
    store.note("planned", recipe={"pretrained": SECRET})  # as earlier versions wrote it
    store.note("ended")
    digest = journal_digest(store.root / "journal")
    archive, theirs = tmp_path / "results.zip", tmp_path / "theirs"
    done = run_cli("results", "export", archive, "--results", store.root)
    assert f"{SECRET} in journal/" in done.stderr and "will hold 1 path of this machine" in done.stderr
    packed = json.loads(run_cli("results", "export", tmp_path / "b.zip", "--results", store.root, "--json").stdout)
    (files,) = packed["private"].values()
    assert [name.partition("/")[0] for name in files] == ["journal"]
    run_cli("results", "import", archive, "--to", theirs)
    assert journal_digest(theirs / "journal") == digest and zipfile.is_zipfile(archive)
