"""`report verify`: an honest report holds; whatever is changed afterwards is named."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from carft.config.cell import DIGEST_MARK
from carft.core.errors import UserError
from carft.core.files import file_digest
from carft.core.source import code_digest
from carft.store import limits
from carft.store.archive import pack, unpack
from carft.store.merge import merge
from carft.store.predictions import CELLS, COLUMNS, SHARED
from carft.store.records import Store
from reports.build import build_report
from reports.evidence.verification import Difference, Differs
from reports.render.manifest import Manifest, digests
from reports.verify import CHECKS, Case, Verification, checked, verify
from reports.words.verify_words import difference_words
from tests.support.helpers import LR, TASK, made_up_predictions, made_up_record, quick_cell, run_cli
from tests.support.planted import QUICK, change_study, changed, forget_journal, plant

pytestmark = pytest.mark.usefixtures("few_figures")

Folders = tuple[Store, Path]
#: whether a tamperer makes the manifest again
REMADE = [True, pytest.param(False, marks=pytest.mark.full)]


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


def differences(found: Verification) -> dict[str, tuple[str, ...]]:
    """First word of a check -> what it names, in words."""
    wrong = [check for check in found.checks if check.differences]
    return {check.name.split()[0]: tuple(map(difference_words, check.differences)) for check in wrong}


def named_by(check: str, folders: Folders, **options: Any) -> tuple[str, ...]:
    """What one check names, in words. check: how its name begins."""
    (name,) = (name for name in CHECKS if name.startswith(check))
    with TemporaryDirectory() as scratch:
        found = checked(Case(*folders, Path(scratch), **options), name).differences
    return tuple(map(difference_words, found))


def test_the_manifest_of_a_hundred_thousand_cells_is_read(tmp_path: Path) -> None:
    sizes = []
    for cells in (0, 10):
        records = {}
        for number in range(cells):
            for name in ("history.parquet", "predictions.parquet", "record.json", "spec.json"):
                records[f"cells/{number:016x}/{name}"] = "0" * 64
        sizes.append(Manifest(records, {}, {}).write(tmp_path).stat().st_size)
    assert sizes[0] + 10_000 * (sizes[1] - sizes[0]) < limits.MANIFEST


def remake_manifest(store: Store, folder: Path) -> None:
    """What a tamperer who knows of the manifest would do."""
    old = Manifest.read(folder)
    new = digests(folder, [folder / name for name in old.report])
    records = digests(store.root, [store.root / name for name in old.records])
    Manifest(records, new, old.made_with).write(folder)


def test_an_honest_report_holds(honest: Folders, tmp_path: Path) -> None:
    found = verify(*honest)
    assert found.holds and not differences(found)
    assert all(check.compared > 0 for check in found.checks) and found.notes
    with pytest.raises(UserError, match="no report") as refused:
        verify(honest[0], tmp_path)
    assert f"--results {honest[0].name} --out {tmp_path}" in refused.value.hint


def change_predictions(store: Store, cell: str) -> None:
    given = store.predictions(cell, "test")
    note = json.loads((store.folder(cell) / "evaluations" / "test.json").read_text())
    changed = replace(given, logits=np.roll(given.logits, 1, 1))
    store.add_evaluation(cell, "test", note["metrics"], changed, {})


def change_classes(store: Store, cell: str) -> None:
    path = store.folder(cell) / "predictions.parquet"
    table = pq.read_table(path)
    pq.write_table(table.set_column(3, "pred", [np.roll(table["pred"].to_numpy(), 1)]), path)


def change_metric(store: Store, cell: str) -> None:
    path = store.folder(cell) / "record.json"
    content = json.loads(path.read_text())
    content["metrics"]["val/top1"] += 0.01
    path.write_text(json.dumps(content))


#: what somebody changes in a cell -> what is said of the cell
CHANGES: dict[Callable[[Store, str], None], str] = {
    change_predictions: "test/top1 is recorded as",
    change_classes: "is not that of the largest logit",
    change_metric: "val/top1 is recorded as",
}


@pytest.mark.parametrize("remade", REMADE)
def test_changed_records_are_caught(case: Folders, remade: bool) -> None:
    store, folder = case
    changed = dict(zip(CHANGES, (cell for study in store.studies() for cell in study.confirm), strict=False))
    for change, cell in changed.items():
        change(store, cell)
    if remade:
        remake_manifest(store, folder)
    found = differences(verify(store, folder))
    assert set(found) >= {"recorded", "tables", "figures", "pages"} and ("records" in found) is not remade
    for change, cell in changed.items():
        assert any(cell in line and CHANGES[change] in line for line in found["recorded"]), CHANGES[change]


def swap_figures(folder: Path) -> None:
    first, second = (folder / "figures" / f"{name}.png" for name in ("differences", "answer"))
    held = first.read_bytes()
    first.write_bytes(second.read_bytes())
    second.write_bytes(held)


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


def edit_page(folder: Path) -> None:
    path = folder / "index.html"
    path.write_text(path.read_text().replace("inconclusive", "reproduced"))


@pytest.mark.parametrize("remade", REMADE)
def test_a_tampered_report_is_caught(case: Folders, remade: bool) -> None:
    store, folder = case
    for tamper in (swap_figures, edit_table, edit_verdict, add_first_values, edit_page):
        tamper(folder)
    if remade:
        remake_manifest(store, folder)
    found = differences(verify(store, folder))
    for where, named in (
        ("figures", "figures/differences.png"),
        ("tables", "tasks."),
        ("tables", "claims."),
        ("tables", "levels has other rows or columns"),
        ("pages", "index.html"),
    ):
        assert any(named in line for line in found[where]), named
    assert ("files" in found) is not remade


def test_another_winner_is_caught(case: Folders) -> None:
    store, _ = case
    study = next(s for s in store.studies() if s.method == "ft")
    other = next(r for r in store.records() if r.cell.method == "car_ft" and r.id not in study.confirm)
    store.write_study(study.id, changed(study, winner=other.id))
    assert any("validation selects" in line for line in named_by("winners", case))


def test_a_flipped_byte_in_a_prediction_file_is_caught(case: Folders) -> None:
    store, _ = case
    flipped = store.studies()[0].confirm[0]
    path = store.folder(flipped) / "evaluations" / "test.parquet"
    content = bytearray(path.read_bytes())
    content[len(content) // 3] ^= 1
    path.write_bytes(content)
    assert f"cells/{flipped}/evaluations/test.parquet was changed" in " ".join(named_by("records against", case))


def test_cells_and_files_that_come_and_go_are_named(case: Folders) -> None:
    store, folder = case
    gone = store.studies()[0].confirm[0]
    (folder / "figures" / "nicer.svg").write_text("<svg/>")
    (folder / "tables" / "wise.csv").unlink()
    shutil.rmtree(store.folder(gone))
    files = named_by("files of the report", case)
    assert "figures/nicer.svg was added after the report was written" in files
    assert "tables/wise.csv is missing" in files
    assert any(gone in line and "is missing" in line for line in named_by("records against", case))


def test_predictions_of_a_search_cell_may_be_missing_in_a_compact_archive_alone(case: Folders) -> None:
    store, folder = case
    (store.root / "predictions").mkdir()
    (store.root / "predictions" / "notes.txt").touch()
    trial = store.studies()[0].trials[0].cell
    (store.folder(trial) / "predictions.parquet").unlink()

    def is_named() -> bool:
        return any(f"cell {trial}, val: " in line for line in named_by("recorded", (Store(store.root), folder)))

    assert is_named()
    shutil.rmtree(store.root / "journal")
    assert is_named()
    forget_journal(store)
    assert not is_named()


def test_a_report_of_other_versions_is_compared_by_value(case: Folders) -> None:
    store, folder = case
    old = Manifest.read(folder)
    packages = {**old.made_with["packages"], "matplotlib": "1.0"}
    Manifest(old.records, old.report, {**old.made_with, "packages": packages, "code": "other"}).write(folder)
    (folder / "index.html").write_text("worded otherwise")
    remake_manifest(store, folder)
    assert "other code" in str(named_by("pages", case))
    found = verify(store, folder, allow_other_code=True)
    assert found.holds and Difference.of(Differs.OTHER_CODE) in found.notes
    edit_table(folder)
    remake_manifest(store, folder)
    assert any("tasks." in words for words in named_by("tables", case, allow_other_code=True))


def test_a_forged_drawing_is_named_though_the_manifest_says_that_another_matplotlib_drew_it(case: Folders) -> None:
    store, folder = case
    old = Manifest.read(folder)
    packages = {**old.made_with["packages"], "matplotlib": "1.0"}
    Manifest(old.records, old.report, {**old.made_with, "packages": packages}).write(folder)
    assert verify(store, folder).holds  # what is drawn again is the same in every byte
    forged = next((folder / "figures").glob("*.svg"))
    forged.write_text(forged.read_text().replace("<path", "<path opacity='0'", 1))
    remake_manifest(store, folder)
    (words,) = named_by("figures", case)
    assert forged.name in words and "matplotlib 1.0, here" in words
    allowed = verify(store, folder, allow_other_code=True)
    (note,) = (note for note in allowed.notes if note.what == Differs.OTHER_VERSIONS)
    assert "figures" not in differences(allowed) and note.facts["file"] == f"figures/{forged.name}"


def test_code_that_exists_nowhere_is_named_and_wants_a_flag(case: Folders) -> None:
    store, folder = case
    for path in (store.root / "journal").iterdir():
        text = path.read_text().replace(f'"code": "{code_digest()}"', f'"code": "{"a" * 16}"')
        path.write_text(text)
    assert any("a" * 16 in words and "--allow-other-code" in words for words in named_by("code", case))
    found = verify(store, folder, allow_other_code=True)
    assert "code" not in differences(found)
    assert any(note.facts["use"].digest == "a" * 16 for note in found.notes if note.what == Differs.CODE)


def test_a_report_is_verified_by_a_command_with_an_exit_code(case: Folders, tmp_path: Path) -> None:
    store, folder = case
    pack(store, tmp_path / "whole.zip")
    assert run_cli("results", "import", tmp_path / "whole.zip", "--to", tmp_path / "theirs").returncode == 0
    done = run_cli("report", "verify", "--results", tmp_path / "theirs", "--out", folder)
    assert done.returncode == 0 and "Every number holds" in done.stdout, done.stdout + done.stderr
    edit_table(folder)
    done = run_cli("report", "verify", "--results", store.root, "--out", folder, "--json")
    printed = json.loads(done.stdout)
    assert done.returncode == 1 and printed["holds"] is False
    assert {"check", "compared", "differences"} == set(printed["checks"][0])


TASKS = ["icons-3/mix-7", "icons-3/mix-9"]


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Folders:
    root = tmp_path_factory.mktemp("full")
    store = Store(root / "results")
    plant(store, TASKS, QUICK)
    build_report(store, root / "report")
    return store, root / "report"


@pytest.fixture(scope="module")
def compact(full: Folders, tmp_path_factory: pytest.TempPathFactory) -> Folders:
    """The same results after export and import, and a report on them."""
    root = tmp_path_factory.mktemp("compact")
    pack(full[0], root / "compact.zip", compact=True)
    unpack(root / "compact.zip", root / "results")
    build_report(Store(root / "results"), root / "report")
    return Store(root / "results"), root / "report"


@pytest.fixture
def copied(compact: Folders, tmp_path: Path) -> Folders:
    shutil.copytree(compact[0].root, tmp_path / "results")
    return Store(tmp_path / "results"), compact[1]


def test_classes_and_contexts_of_every_evaluation_are_what_they_were(full: Folders, compact: Folders) -> None:
    before, after = full[0], compact[0]
    assert after.ids() == before.ids()
    for cell in before.ids():
        for name in ("val", *before.evaluated(cell)):
            was = before.prediction_table(cell, name).select(list(COLUMNS)).replace_schema_metadata(None)
            assert after.prediction_table(cell, name).equals(was), (cell, name)
            assert before.has_logits(cell, name) and not after.has_logits(cell, name)


def test_the_same_records_give_the_same_bytes_also_from_the_compact_folder(compact: Folders, tmp_path: Path) -> None:
    for number, options in enumerate(({"compact": True}, {})):
        archive = tmp_path / f"{number}.zip"
        pack(compact[0], archive, **options)
        assert archive.read_bytes() == (compact[0].root.parent / "compact.zip").read_bytes()


def test_verdicts_and_accuracies_are_the_same(full: Folders, compact: Folders) -> None:
    def table(folders: Folders, name: str) -> pd.DataFrame:
        return pd.read_csv(folders[1] / "tables" / f"{name}.csv")

    for name in ("claims", "verdicts", "tasks", "trials", "wise", "confusion"):
        pd.testing.assert_frame_equal(table(full, name), table(compact, name))


def test_a_report_on_a_compact_archive_is_verified_and_says_what_was_not(compact: Folders) -> None:
    found = verify(*compact)
    assert found.holds, differences(found)
    assert any(note.what == Differs.WITHOUT_LOGITS for note in found.notes)


def test_a_compact_archive_of_a_search_that_is_not_over_holds(tmp_path: Path) -> None:
    store = Store(tmp_path / "results")
    plant(store, TASKS[:1], QUICK)
    change_study(store, TASKS[0], "ft", winner=None, confirm=[])
    pack(store, tmp_path / "compact.zip", compact=True)
    unpack(tmp_path / "compact.zip", tmp_path / "compact")
    there = Store(tmp_path / "compact")
    build_report(there, tmp_path / "report")
    found = verify(there, tmp_path / "report")
    assert found.holds, differences(found)


def test_predictions_that_do_not_give_the_metrics_or_are_missing_are_caught(copied: Folders) -> None:
    store, folder = copied
    cell = store.studies()[0].confirm[0]
    path = next(p for p in (store.root / SHARED).glob(f"test.*{CELLS}") if cell in pq.read_table(p)["cell"].to_pylist())
    table = pq.read_table(path)
    rows = table.to_pylist()
    number = table["cell"].to_pylist().index(cell)
    rows[number]["pred"] = rows[number]["pred"][::-1]
    pq.write_table(pa.Table.from_pylist(rows, schema=table.schema), path)
    assert f"{SHARED}/{path.name} was changed" in named_by("records against", (Store(store.root), folder))[0]
    recorded = named_by("recorded", (Store(store.root), folder))
    assert any(f"cell {cell}, test: test/" in words for words in recorded)
    for path in (store.root / SHARED).glob(f"val.*{CELLS}"):
        path.unlink()
    recorded = named_by("recorded", (Store(store.root), folder))
    assert any(f"cell {cell}, val: " in words for words in recorded)


def test_what_needs_logits_or_both_originals_is_refused(full: Folders, compact: Folders, tmp_path: Path) -> None:
    cell = compact[0].studies()[0].confirm[0]
    with pytest.raises(UserError, match="hold no logits"):
        compact[0].predictions(cell, "test")
    with pytest.raises(UserError, match="cannot be merged"):
        merge(full[0], compact[0], tmp_path / "both")


def store_that_starts_from(root: Path, model: str, pretrained: str) -> Store:
    """A results folder of one cell, as somebody may have made it up."""
    store = Store(root)
    cell = replace(quick_cell("ft", lr=LR), model=model, pretrained=pretrained)
    store.write(made_up_record(cell), [], made_up_predictions())
    return store


@pytest.mark.parametrize(
    ("model", "pretrained"),
    [
        ("hf-hub:somebody/clip", "hf-hub:somebody/clip"),
        ("local-dir:/srv/clip", "local-dir:/srv/clip"),
        ("icons-resnet", f"/srv/weights.pt{DIGEST_MARK}{'0' * 64}"),
        ("icons-resnet", f"weights.pt{DIGEST_MARK}{'0' * 64}"),
    ],
)
def test_records_do_not_choose_which_weights_are_loaded(
    model: str, pretrained: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("carft.models.clip.resolve", lambda *named: pytest.fail(f"{named} are looked for"))
    store = store_that_starts_from(tmp_path / "theirs", model, pretrained)
    done = run_cli("report", "verify", "--rerun", 1, "--results", store.root, "--out", tmp_path / "report")
    assert (done.returncode, "Traceback" in done.stderr) == (2, False)
    assert "weights that no package ships" in done.stderr and "--weights" in done.stderr


def test_weights_that_a_person_names_may_be_loaded(tmp_path: Path) -> None:
    file = tmp_path / "weights.pt"
    file.write_text("weights")
    hub = "hf-hub:somebody/clip"
    starts = {hub: (hub, hub), str(file): ("icons-resnet", f"/elsewhere/w.pt{DIGEST_MARK}{file_digest(file)}")}
    for number, (named, start) in enumerate(starts.items()):
        store = store_that_starts_from(tmp_path / str(number), *start)
        asked = ("report", "verify", "--rerun", 1, "--results", store.root, "--out", tmp_path / "report")
        assert "holds no report" in run_cli(*asked, "--weights", named).stderr  # it goes on
