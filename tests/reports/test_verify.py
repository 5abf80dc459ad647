"""`report verify`: an honest report holds; whatever is changed afterwards is named."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pandas as pd
import pytest

from carft.core.errors import UserError
from carft.store.archive import pack, unpack
from carft.store.merge import merge
from carft.store.records import Store
from reports.pipeline import build_report
from reports.render.manifest import Manifest
from reports.verify import LIMITS, Verification, verify
from tests.support.helpers import TASK, run_cli
from tests.support.planted import QUICK, change_study, plant

pytestmark = pytest.mark.usefixtures("few_figures")

Folders = tuple[Store, Path]


@pytest.fixture(scope="module")
def honest(tmp_path_factory: pytest.TempPathFactory) -> Folders:
    root = tmp_path_factory.mktemp("honest")
    store = Store(root / "results")
    plant(store, [TASK], QUICK, curves=True)
    build_report(store, root / "report")
    return store, root / "report"


@pytest.fixture
def case(honest: Folders, tmp_path: Path) -> Folders:
    """A copy that a test may tamper with."""
    shutil.copytree(honest[0].root, tmp_path / "results")
    shutil.copytree(honest[1], tmp_path / "report")
    return Store(tmp_path / "results"), tmp_path / "report"


def differences(found: Verification) -> dict[str, str]:
    """First word of a check -> what it names."""
    wrong = [check for check in found.checks if check.differences]
    return {check.name.split()[0]: "\n".join(check.differences) for check in wrong}


def test_an_honest_report_holds(honest: Folders, tmp_path: Path) -> None:
    found = verify(*honest)
    assert found.holds and not differences(found)
    assert all(check.compared > 0 for check in found.checks) and LIMITS in found.notes
    with pytest.raises(UserError, match="no report") as refused:
        verify(honest[0], tmp_path)
    assert f"--results {honest[0].name} --out {tmp_path}" in refused.value.hint


def edit_table(folder: Path, name: str = "tables/tasks.csv", column: str = "test_top1", added: float = 1e-6) -> None:
    table = pd.read_csv(folder / name)
    table.loc[0, column] += added
    table.to_csv(folder / name, index=False)


def add_first_values(folder: Path) -> None:
    path = folder / "tables" / "levels.csv"
    columns, *rows = path.read_text().splitlines()
    path.write_text("\n".join([columns, *(f"0.9,{row}" for row in rows)]) + "\n")


def edit_verdict(folder: Path) -> None:
    path = folder / "tables" / "claims.csv"
    path.write_text(path.read_text().replace("reproduced", "contradicted", 1))


def test_a_report_that_was_changed_differs(case: Folders) -> None:
    store, folder = case
    for change in (edit_table, edit_verdict, add_first_values):
        change(folder)
    (folder / "tables" / "wise.csv").unlink()
    found = differences(verify(store, folder))
    assert set(found) == {"tables"}
    for named in ("tasks.", "claims.", "levels has other rows or columns", "wise is missing"):
        assert named in found["tables"]


def test_numbers_that_differ_in_their_last_bits_are_the_same(case: Folders) -> None:
    store, folder = case
    edit_table(folder, added=1e-14)
    assert "tables" not in differences(verify(store, folder))
    edit_table(folder)
    assert "tasks." in differences(verify(store, folder))["tables"]


def test_a_report_of_other_records_differs(case: Folders) -> None:
    store, folder = case
    cell, gone = store.studies()[0].confirm[:2]
    path = store.folder(cell) / "evaluations" / "test.json"
    content = json.loads(path.read_text())
    content["metrics"]["test/top1"] += 0.01
    path.write_text(json.dumps(content))
    shutil.rmtree(store.folder(gone))
    found = differences(verify(Store(store.root), folder))
    assert f"cells/{cell}/evaluations/test.json was changed" in found["records"]
    assert f"cells/{gone}/record.json is missing" in found["records"]
    assert "tasks" in found["tables"]


def test_a_report_of_other_versions_is_compared_and_says_so(case: Folders) -> None:
    store, folder = case
    old = Manifest.read(folder)
    packages = {**old.made_with["packages"], "matplotlib": "1.0"}
    Manifest(old.records, old.report, {**old.made_with, "packages": packages}).write(folder)
    found = verify(store, folder)
    assert found.holds and any("matplotlib 1.0, here" in note for note in found.notes)


def test_a_report_is_verified_by_a_command_with_an_exit_code(case: Folders, tmp_path: Path) -> None:
    store, folder = case
    pack(store, tmp_path / "whole.zip")
    assert run_cli("results", "import", tmp_path / "whole.zip", "--to", tmp_path / "theirs").returncode == 0
    done = run_cli("report", "verify", "--results", tmp_path / "theirs", "--out", folder)
    assert done.returncode == 0 and "Every table holds" in done.stdout, done.stdout + done.stderr
    edit_table(folder)
    done = run_cli("report", "verify", "--results", store.root, "--out", folder, "--json")
    printed = json.loads(done.stdout)
    assert done.returncode == 1 and printed["holds"] is False
    assert {"check", "compared", "differences"} == set(printed["checks"][0])


def test_a_compact_archive_gives_the_same_tables_and_is_verified(tmp_path: Path) -> None:
    """Also with a search that is not over."""
    store = Store(tmp_path / "results")
    plant(store, ["icons-3/mix-7", "icons-3/mix-9"], QUICK)
    change_study(store, "icons-3/mix-9", "ft", winner=None, confirm=[])
    build_report(store, tmp_path / "whole")
    pack(store, tmp_path / "compact.zip", compact=True)
    unpack(tmp_path / "compact.zip", tmp_path / "compact")
    there = Store(tmp_path / "compact")
    build_report(there, tmp_path / "report")
    found = verify(there, tmp_path / "report")
    assert found.holds, differences(found)
    for name in ("claims", "verdicts", "tasks", "trials", "wise", "confusion"):
        made, whole = (pd.read_csv(tmp_path / folder / "tables" / f"{name}.csv") for folder in ("report", "whole"))
        pd.testing.assert_frame_equal(made, whole)
    pack(there, tmp_path / "again.zip", compact=True)
    assert (tmp_path / "again.zip").read_bytes() == (tmp_path / "compact.zip").read_bytes()
    with pytest.raises(UserError, match="hold no logits"):
        there.predictions(there.studies()[0].trials[0].cell, "val")
    with pytest.raises(UserError, match="cannot be merged"):
        merge(store, there, tmp_path / "both")
