"""What a report and an archive say of failed cells."""

from __future__ import annotations

from pathlib import Path

import pytest

from carft.catalog.resolve import specify
from carft.core.failure_kinds import FailureKind
from carft.store.failures import Failure, read_failure, write_failure
from carft.store.records import Store
from reports.pipeline import build_report
from reports.verify import verify
from tests.support.helpers import TASK, run_cli
from tests.support.planted import QUICK, plant

pytestmark = pytest.mark.usefixtures("few_figures")

PATIENT = "Jane_Doe_1984"


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
