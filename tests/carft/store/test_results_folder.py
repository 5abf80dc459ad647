"""Results as things: what can go, two folders as one, and an archive that can be checked elsewhere."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from carft import NUMERICS
from carft.catalog.catalog import BUILT_IN
from carft.catalog.resolve import soup_of
from carft.config.cell import Cell
from carft.config.registry import SoupRule
from carft.core.errors import UserError
from carft.store import archive as archive_module
from carft.store.archive import JOINED, MANIFEST, pack, unpack
from carft.store.failures import failures, write_failure
from carft.store.gc import leftovers, remove
from carft.store.merge import merge
from carft.store.records import Store
from reports.pipeline import build_report
from reports.render.manifest import record_digests
from reports.verify import verify
from tests.support.helpers import LR, TASK, made_up_predictions, made_up_record, made_up_study, quick_cell, run_cli
from tests.support.planted import Plan, plant

pytestmark = pytest.mark.usefixtures("few_figures")

CELL, OTHER = quick_cell("ft", lr=LR), quick_cell("ft", seed=1, lr=LR)
PLAN = Plan(
    top1={"zeroshot": 0.5, "ft": 0.6, "car_ft": 0.75}, context={"zeroshot": 0.9, "ft": 0.6, "car_ft": 0.9}, groups=12
)


def put(store: Store, cell: Cell, top1: float = 0.5, seed: int = 0, **provenance: Any) -> Cell:
    """A finished cell that no training made."""
    record = made_up_record(cell, {"val/top1": top1, "val/loss": 1.0})
    record = replace(record, provenance={"numerics": NUMERICS, "digests": {"attested": "yes"}, **provenance})
    store.write(record, [], made_up_predictions(seed=seed))
    return cell


def old(*paths: Path) -> None:
    """As if nobody had touched them for a day."""
    for path in paths:
        for part in [*(path.rglob("*") if path.is_dir() else ()), path]:
            os.utime(part, (0, 0))


# gc


def test_only_what_nobody_needs_goes(store: Store) -> None:
    parents = [put(store, quick_cell("ft", seed=seed, lr=LR)) for seed in (0, 1)]
    kept = put(store, quick_cell("ft", seed=2, lr=LR))
    for rule in SoupRule:
        put(store, soup_of(parents, rule, catalog=BUILT_IN))
    unfinished = store.root / "cells" / "copied\\from\\elsewhere"
    gone = [
        *(store.weights_path(cell.id) for cell in parents),
        store.root / "checkpoints" / f"{CELL.id}.safetensors",
        store.root / "superseded" / f"{CELL.id}-1" / "model.safetensors",
        store.folder(CELL.id) / "record.json.1-2.part",
        unfinished,
    ]
    stays = [
        store.weights_path(kept.id),
        store.root / "checkpoints" / "4567.safetensors",
        store.root / "superseded" / f"{CELL.id}-1" / "record.json",
        store.folder("89ab") / "predictions.parquet",
    ]
    for path in [*gone[:-1], unfinished / "spec.json", *stays]:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x")
    old(*gone, *stays[:-1])  # somebody may be at work on the last one
    before = set(store.ids())
    found = leftovers(store)
    assert {leftover.path for leftover in found} == set(gone)
    assert all(leftover.why and leftover.size == 1 for leftover in found)
    remove(store, found)
    assert leftovers(store) == [] and set(store.ids()) == before
    assert all(path.exists() for path in stays) and not any(path.exists() for path in gone)


def test_gc_says_first_and_removes_when_told(store: Store) -> None:
    put(store, CELL)
    path = store.root / "checkpoints" / f"{CELL.id}.safetensors"
    path.parent.mkdir()
    path.write_text("x")
    done = run_cli("results", "gc", "--results", store.root)
    assert done.returncode == 0 and "Nothing was removed" in done.stdout and path.exists()
    done = run_cli("results", "gc", "--yes", "--results", store.root, "--json")
    assert json.loads(done.stdout)["removed"] is True and not path.exists()


# merge


@pytest.fixture
def labs(tmp_path: Path) -> tuple[Store, Store]:
    """Two folders with one cell in common, of which only the second opened the test set."""
    first, second = Store(tmp_path / "first"), Store(tmp_path / "second")
    for store, own in ((first, OTHER), (second, quick_cell("zeroshot"))):
        put(store, CELL)
        put(store, own)
    second.add_evaluation(CELL.id, "test", {"test/top1": 0.25}, made_up_predictions(seed=1), {"by": "sweep"})
    return first, second


def test_two_folders_become_one_with_what_either_has(labs: tuple[Store, Store], tmp_path: Path) -> None:
    merged = merge(*labs, tmp_path / "both")
    assert merged.shared == {CELL.id}
    both = Store(tmp_path / "both")
    assert set(both.ids()) == {*labs[0].ids(), *labs[1].ids()}
    assert both.metrics(CELL.id)["test/top1"] == 0.25
    assert [line.cell for line in both.unsealings()] == [CELL.id]
    for cell in both.ids():
        both.predictions(cell, "val")


def test_folders_with_other_results_of_a_cell_are_refused_and_nothing_is_written(
    labs: tuple[Store, Store], tmp_path: Path
) -> None:
    put(labs[1], OTHER, 0.75)
    done = run_cli("results", "import", labs[0].root, labs[1].root, "--to", tmp_path / "both")
    said = " ".join(done.stderr.split())
    assert done.returncode == 2 and f"cell {OTHER.id} has other metrics on val" in said
    assert not (tmp_path / "both").exists()


def test_folders_with_other_states_of_a_study_are_refused(labs: tuple[Store, Store], tmp_path: Path) -> None:
    for store, cell in ((labs[0], CELL), (labs[1], OTHER)):
        trials = [{"trial": 0, "parameters": {}, "cell": cell.id, "status": "open"}]
        store.write_study("s", made_up_study(task=TASK, trials=trials))
    with pytest.raises(UserError, match=rf"study s, ft on {TASK}, is another in the second"):
        merge(*labs, tmp_path / "both")


def test_a_failure_is_kept_unless_the_other_folder_has_the_cell(labs: tuple[Store, Store], tmp_path: Path) -> None:
    write_failure(labs[1], OTHER, "diverged", "it broke", job="search")
    write_failure(labs[1], quick_cell("ft", seed=9, lr=LR), "hang", "it hung", job="search")
    merge(*labs, tmp_path / "both")
    assert [f.kind for f in failures(Store(tmp_path / "both"))] == ["hang"]


def test_links_in_a_folder_from_elsewhere_are_refused(labs: tuple[Store, Store], tmp_path: Path) -> None:
    path = labs[1].predictions_path(CELL.id, "val")
    secret = tmp_path / "secret"
    shutil.move(path, secret)
    path.symlink_to(secret)
    with pytest.raises(UserError, match="is a link"):
        merge(*labs, tmp_path / "both")
    with pytest.raises(UserError, match="is a link"):
        pack(labs[1], tmp_path / "a.zip")
    assert not (tmp_path / "both").exists() and not (tmp_path / "a.zip").exists()


def test_an_id_that_would_leave_the_folder_is_refused(store: Store) -> None:
    put(store, CELL)
    for name in ("../elsewhere", "..", "", "a/b", "a\0b"):
        for look in (store.is_done, store.read, store.history, store.failure_path, store.weights_path):
            with pytest.raises(UserError, match="not the name of a cell"):
                look(name)


# archives


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> tuple[Store, Path, Path]:
    """A planted results folder, its report, and an archive of the folder. Do not change them."""
    root = tmp_path_factory.mktemp("published")
    store = Store(root / "results")
    plant(store, (TASK, "icons-3/mix-9"), PLAN)
    store.weights_path(store.ids()[0]).write_text("weights")
    store.folder("unfinished").mkdir()
    (store.folder("unfinished") / "spec.json").write_text("{}")
    build_report(store, root / "report")
    pack(store, root / "a.zip")
    return store, root / "report", root / "a.zip"


def test_what_was_published_is_verified_elsewhere(published: tuple[Store, Path, Path], tmp_path: Path) -> None:
    store, report, archive = published
    packed = unpack(archive, tmp_path / "theirs")
    theirs = Store(tmp_path / "theirs")
    assert theirs.ids() == store.ids() and packed["cells"] == len(store.ids())
    assert record_digests(theirs) == record_digests(store)
    assert not list(theirs.root.rglob("*.safetensors"))
    found = verify(theirs, report)
    assert found.holds, [c for c in found.checks if c.differences]


def test_the_same_records_give_the_same_archive(published: tuple[Store, Path, Path], tmp_path: Path) -> None:
    store, _, archive = published
    pack(store, tmp_path / "again.zip")
    assert (tmp_path / "again.zip").read_bytes() == archive.read_bytes()
    with_weights = pack(store, tmp_path / "weights.zip", weights=True)
    names = [set(zipfile.ZipFile(path).namelist()) for path in (archive, tmp_path / "weights.zip")]
    assert [Path(name).name for name in names[1] - names[0]] == ["model.safetensors"]
    assert with_weights["files"] == len(names[1] - {MANIFEST})


def repacked(archive: Path, target: Path, change: Callable[[dict[str, bytes], dict[str, Any]], None]) -> Path:
    """The archive with its files and manifest changed by somebody."""
    with zipfile.ZipFile(archive) as stream:
        content = {name: stream.read(name) for name in stream.namelist()}
    manifest = json.loads(content.pop(MANIFEST))
    change(content, manifest["files"])
    with zipfile.ZipFile(target, "w") as stream:
        stream.writestr(MANIFEST, json.dumps(manifest))
        for name, data in content.items():
            stream.writestr(name, data)
    return target


EVIL = ("/tmp/evil", "cells/a/../../evil", "..\\evil", "cells/.x/y", "cells/a/x.sh")


@pytest.mark.parametrize("name", ["../evil", "report/index.json", "cells/a/history.parquet"])
def test_a_joined_file_that_leads_elsewhere_is_refused(
    published: tuple[Store, Path, Path], tmp_path: Path, name: str
) -> None:
    def change(content: dict[str, bytes], listed: dict[str, Any]) -> None:
        content[JOINED] += json.dumps({"name": name, "text": "evil"}).encode() + b"\n"
        listed[JOINED] = {"sha256": hashlib.sha256(content[JOINED]).hexdigest(), "bytes": len(content[JOINED])}

    with pytest.raises(UserError, match="no JSON file of a results folder"):
        unpack(repacked(published[2], tmp_path / "a.zip", change), tmp_path / "inner" / "theirs")
    assert {path.name for path in tmp_path.iterdir()} <= {"a.zip", "inner"}
    assert not list((tmp_path / "inner").iterdir())


def of_predictions(content: dict[str, bytes]) -> str:
    return next(name for name in content if name.endswith("predictions.parquet"))


def change_file(content: dict[str, bytes], listed: dict[str, Any]) -> None:
    content[of_predictions(content)] = content[of_predictions(content)][::-1]


def drop_file(content: dict[str, bytes], listed: dict[str, Any]) -> None:
    del content[of_predictions(content)]


def add_record(content: dict[str, bytes], listed: dict[str, Any]) -> None:
    content["cells/0123/record.json"] = b"{}"


def shorten_file(content: dict[str, bytes], listed: dict[str, Any]) -> None:
    content[of_predictions(content)] = content[of_predictions(content)][:10]


def listed_as(name: str) -> Callable[[dict[str, bytes], dict[str, Any]], None]:
    def change(content: dict[str, bytes], listed: dict[str, Any]) -> None:
        content[name] = b"evil"
        listed[name] = {"sha256": "", "bytes": 4}

    return change


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (change_file, "its digest differs"),
        (drop_file, "not those of its manifest: cells/"),
        (add_record, "not those of its manifest: cells/0123/record.json"),
        (shorten_file, "not those of its manifest: cells/"),
        *((listed_as(name), "no file of a results folder") for name in EVIL),
    ],
)
def test_an_archive_that_was_changed_is_refused_and_nothing_of_it_is_left(
    published: tuple[Store, Path, Path], tmp_path: Path, change: Callable, says: str
) -> None:
    archive = repacked(published[2], tmp_path / "a.zip", change)
    with pytest.raises(UserError, match=says):
        unpack(archive, tmp_path / "inner" / "theirs")
    assert {path.name for path in tmp_path.rglob("*")} <= {"a.zip", "inner"}


def test_a_large_archive_is_unpacked_when_told(
    published: tuple[Store, Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archive_module, "LARGE", 10_000)  # bytes that headers and manifest tell, before any is written
    asked = ("results", "import", published[2], "--to", tmp_path / "theirs")
    refused = run_cli(*asked)
    assert refused.returncode == 2 and "it unpacks to" in refused.stderr and "--yes" in refused.stderr
    assert not list(tmp_path.iterdir())
    assert run_cli(*asked, "--yes").returncode == 0
    assert Store(tmp_path / "theirs").ids() == published[0].ids()


def test_no_archive_at_all_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no archive"):
        unpack(tmp_path / "a.zip", tmp_path / "theirs")
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as stream:
        stream.writestr("cells/0/record.json", "{}")
    with pytest.raises(UserError, match=r"it holds no manifest\.json"):
        unpack(tmp_path / "a.zip", tmp_path / "theirs")
    (tmp_path / "a.zip").write_text("not a zip")
    with pytest.raises(UserError, match="cannot be read"):
        unpack(tmp_path / "a.zip", tmp_path / "theirs")
    assert not (tmp_path / "theirs").exists()
