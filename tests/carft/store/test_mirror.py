"""Results in an object store: what one machine writes another one reads, whole, once, and nothing else."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from uuid import uuid4

import pytest

from carft import NUMERICS
from carft.catalog.catalog import BUILT_IN
from carft.config.cell import Cell
from carft.config.registry import WISE_ALPHAS
from carft.core.errors import StorageUnavailable, UserError
from carft.data.folder.named import NamedTask
from carft.store import mirror
from carft.store.failures import write_failure
from carft.store.gc import Leftover, remove
from carft.store.journal import chain_files
from carft.store.mirror import DOWNLOADED, MirroredStore, Seen, changes, checked_url, open_store
from carft.store.records import Store
from carft.store.stored_catalog import adopt_catalog, named_tasks
from carft.store.sweep_state import Counts, SweepState, read_states, write_state
from carft_cli.options import ResultsOptions
from sweeps.faults import storage
from sweeps.faults.storage import sweep_lock
from tests.support.buckets import BUCKET, KEY, SECRET, Bucket, Machines, Server, serving
from tests.support.folder import keep_tasks
from tests.support.helpers import LR, TASK, made_up_predictions, made_up_record, made_up_study, quick_cell, run_cli

CELL = quick_cell("ft", lr=LR)
OTHER = quick_cell("ft", seed=1, lr=LR)
NOTE = {"by": "train"}


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with serving() as server:
        yield server


@pytest.fixture
def machines(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machines:
    return Machines(server, tmp_path, monkeypatch, f"runs/{uuid4().hex[:8]}")


def put(store: MirroredStore, cell: Cell = CELL, numerics: int = NUMERICS, weights: bytes = b"") -> None:
    """Write a made-up cell."""
    save = (lambda path: path.write_bytes(weights)) if weights else None
    store.write(made_up_record(cell, numerics=numerics), [{"step": 0.0}], made_up_predictions(), save)


def test_what_one_machine_writes_another_one_reads(machines: Machines) -> None:
    first, second = machines.store("first"), machines.store("second")
    put(first)
    first.add_evaluation(CELL.id, "test", {"test/top1": 0.25}, made_up_predictions(), NOTE)
    first.write_study("one", made_up_study())
    write_failure(first, OTHER, "error", "why")
    task = NamedTask("zoo/cats", "v", ("a",), ("b",), ("c", "d"), ("{}", "{}"), folder="/data/cats")
    keep_tasks(first, [task])
    adopt_catalog(first, BUILT_IN.with_suites(["hands"]), [TASK])
    second.refresh(*DOWNLOADED)
    assert second.read(CELL.id) == first.read(CELL.id) and named_tasks(second) == [task]
    assert second.metrics(CELL.id)["test/top1"] == 0.25 and ResultsOptions(results=machines.url).catalog().suites == (
        "hands",
    )
    assert second.studies() == first.studies() and second.failed() == [OTHER.id]
    assert machines.names().keys() == {name for name in first._local("") if not name.startswith("pending/")} - {
        "sweep.lock"
    }


def test_a_cell_is_done_there_only_when_all_of_it_is_there(machines: Machines, monkeypatch: pytest.MonkeyPatch) -> None:
    """The record is sent last; a machine that dies before that left no cell, and pays when it is there again."""
    store, sent = machines.store("first"), []

    def send(store: MirroredStore, name: str) -> None:
        sent.append(name)
        if name.endswith("record.json"):
            raise StorageUnavailable(5, "away")

    with monkeypatch.context() as patched:
        patched.setattr(MirroredStore, "send", send)
        with pytest.raises(StorageUnavailable):
            put(store, weights=b"weights")
    assert [Path(name).name for name in sent[-2:]] == ["spec.json", "record.json"]
    assert {Path(name).name for name in sent} >= {"model.safetensors", "predictions.parquet", "history.parquet"}
    elsewhere = machines.store("second")
    elsewhere.refresh(*DOWNLOADED)
    assert elsewhere.ids() == []
    store.refresh(*DOWNLOADED)  # as `ls` beside it would
    assert store.ids() == [CELL.id]
    machines.store("first").sync([CELL.id])
    elsewhere.refresh(*DOWNLOADED)
    assert elsewhere.ids() == [CELL.id]


RECORD, WEIGHTS, PARQUET = "cells/a/record.json", "cells/a/model.safetensors", "cells/a/predictions.parquet"
OLD, NEW = (1, 10), (1, 20)


@pytest.mark.parametrize(
    ("here", "there", "pending", "removed", "first", "last"),
    [
        ({RECORD: OLD, PARQUET: OLD}, {RECORD: OLD, PARQUET: OLD}, (), [], [], []),
        ({RECORD: OLD}, {RECORD: NEW, PARQUET: NEW}, (), [], [PARQUET], [RECORD]),
        ({RECORD: None}, {RECORD: NEW}, (), [], [], [RECORD]),
        ({RECORD: OLD}, {}, (), [RECORD], [], []),
        ({RECORD: OLD}, {RECORD: NEW}, ("cells/a",), [], [], []),
        ({RECORD: OLD}, {RECORD: NEW}, (RECORD,), [], [], []),
        ({RECORD: OLD}, {RECORD: NEW}, ("cells/b",), [], [], [RECORD]),
        ({RECORD: OLD, WEIGHTS: OLD}, {RECORD: OLD}, (), [], [], []),
        ({RECORD: OLD, WEIGHTS: OLD}, {RECORD: NEW}, (), [WEIGHTS], [], [RECORD]),
        ({RECORD: OLD, WEIGHTS: OLD}, {RECORD: OLD, WEIGHTS: NEW}, (), [WEIGHTS], [], []),
        ({RECORD: OLD}, {RECORD: OLD, WEIGHTS: NEW}, (), [], [], []),
    ],
)
def test_what_a_mirror_lacks(
    here: dict[str, Seen | None],
    there: dict[str, Seen],
    pending: tuple[str, ...],
    removed: list[str],
    first: list[str],
    last: list[str],
) -> None:
    assert changes(here, there, pending) == (removed, first, last)
    asked = changes(here, there, pending, weights=True)
    assert (WEIGHTS in asked.first) == (WEIGHTS in there) and asked.last == last


def test_what_is_being_written_is_left_alone(machines: Machines) -> None:
    """By whoever reads, or begins to work, on the same machine meanwhile."""
    writer = machines.store("first")
    with writer.changing(f"cells/{CELL.id}"):
        writer.folder(CELL.id).mkdir(parents=True)
        (writer.folder(CELL.id) / "predictions.parquet").write_bytes(b"half of it")
        beside = open_store(machines.url, BUILT_IN, writable=True)
        assert beside.root == writer.root and [path.name for path in beside.folder(CELL.id).iterdir()]
    assert set(machines.names()) == {f"cells/{CELL.id}/predictions.parquet"}
    assert writer.pending() == set()


def test_what_a_killed_process_owed_does_not_stand_against_what_another_machine_did(machines: Machines) -> None:
    first, second = machines.store("first"), machines.store("second")
    put(first)
    left_pending(first, f"cells/{CELL.id}")  # killed before it knew that all was sent
    machines.server.remove(f"{machines.prefix}/cells/{CELL.id}/record.json")
    second.write(made_up_record(CELL, {"val/top1": 0.75}), [], made_up_predictions(seed=1))
    again = machines.store("first")
    again.flush()
    again.refresh(*DOWNLOADED)
    assert again.metrics(CELL.id) == second.metrics(CELL.id)
    assert again.predictions(CELL.id, "val").logits.tolist() == second.predictions(CELL.id, "val").logits.tolist()


def left_pending(store: MirroredStore, prefix: str) -> None:
    """As a process leaves it that is killed while it uploads."""
    (store.root / "pending" / prefix.replace("/", "~")).write_text("pending")


def cells_of(machines: Machines) -> dict[str, str]:
    return {name: tag for name, tag in machines.names().items() if name.startswith("cells/")}


def test_a_record_that_came_while_ours_was_being_sent_stands(machines: Machines) -> None:
    first, second = machines.store("first"), machines.store("second")
    theirs = []

    def another_writes_it(weights: Path) -> None:
        weights.touch()
        second.write(made_up_record(CELL, {"val/top1": 0.75}), [{"step": 0.0}], made_up_predictions(seed=1))
        theirs.append(cells_of(machines))

    first.write(made_up_record(CELL), [{"step": 0.0}], made_up_predictions(), another_writes_it)
    assert [cells_of(machines)] == theirs
    first.refresh(f"cells/{CELL.id}")
    assert first.read(CELL.id) == second.read(CELL.id)


def test_lines_of_the_journal_that_a_killed_worker_left_pending_are_sent_with_the_next_job(machines: Machines) -> None:
    killed = machines.store("first")
    put(killed)
    (chain,) = (killed.root / "journal").iterdir()
    left = {"kind": "opened", "when": "then", "parents": [], "cell": CELL.id, "set": "test", "by": "sweep"}
    with chain.open("a") as stream:
        stream.write(json.dumps(left) + "\n")
    left_pending(killed, f"journal/{chain.name}")
    machines.store("first").sync([CELL.id])
    elsewhere = machines.store("second")
    elsewhere.refresh(*DOWNLOADED)
    assert [opened.set for opened in elsewhere.unsealings()] == ["test"]


def test_a_chain_goes_on_from_file_to_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It goes on in the next file, so a file that is removed is missed."""
    monkeypatch.setenv("CARFT_MIRRORS", str(tmp_path))
    monkeypatch.setattr(MirroredStore, "largest_part", 1)
    store = Bucket()
    for cell in ("a", "b", "c"):
        store.note("finished", cell=cell)
    files = chain_files(store.root / "journal")
    assert len(files) == 3
    a, b, c = store.journal().of("finished")
    assert (b.parents, c.parents) == ([a.digest], [b.digest]) and not store.journal().problems
    files[1].unlink()
    assert any("missing" in problem for problem in store.journal().problems)


def test_tidying_leaves_a_cell_alone_that_another_machine_has_finished_since(machines: Machines) -> None:
    first, second = machines.store("first"), machines.store("second")
    put(second)
    first.folder(CELL.id).mkdir(parents=True)
    (first.folder(CELL.id) / "spec.json").write_text("{}")
    remove(first, [Leftover(first.folder(CELL.id), 2, "no record")])
    elsewhere = machines.store("third")
    elsewhere.refresh(*DOWNLOADED)
    assert elsewhere.ids() == [CELL.id]


def test_what_is_removed_there_is_removed_here(machines: Machines) -> None:
    first, second = machines.store("first"), machines.store("second")
    put(first, weights=b"weights")
    put(first, OTHER)
    write_failure(first, CELL, "error", "why")
    second.refresh(*DOWNLOADED)
    second.remove(f"cells/{CELL.id}")
    second.forget_failure(CELL.id)
    first.refresh(*DOWNLOADED)
    for store in (first, second):
        assert store.ids() == [OTHER.id] and not store.failed() and not store.folder(CELL.id).exists()
    assert not any(CELL.id in name for name in machines.names())


def test_nothing_is_brought_twice_and_weights_only_when_asked_for(
    machines: Machines, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mirror, "YOUNG_NS", 0)
    first, second = machines.store("first"), machines.store("second")
    put(first, weights=b"weights")
    fetched: list[str] = []
    fetch = MirroredStore.fetch

    def counted(store: MirroredStore, name: str, seen: Seen) -> None:
        fetched.append(Path(name).name)
        fetch(store, name, seen)

    monkeypatch.setattr(MirroredStore, "fetch", counted)
    for store in (second, second, first):
        store.refresh(*DOWNLOADED)
    assert sorted(name for name in fetched if not name.endswith(".jsonl")) == [
        "history.parquet",
        "predictions.parquet",
        "record.json",
        "spec.json",
    ]
    for _ in range(2):
        assert second.find_weights(CELL.id).read_bytes() == b"weights"
    assert fetched.count("model.safetensors") == 1
    assert not second.find_weights(OTHER.id).exists()


def test_a_record_of_older_numerics_is_set_aside_there(machines: Machines) -> None:
    first, second, third = map(machines.store, ("first", "second", "third"))
    put(first, numerics=NUMERICS - 1, weights=b"old")
    third.refresh(*DOWNLOADED)
    assert third.find_weights(CELL.id).read_bytes() == b"old"
    second.sync([CELL.id])
    assert second.set_aside_stale(CELL.id)
    assert not any(name.startswith("cells/") for name in machines.names())
    kept = [name for name in machines.names() if name.startswith(f"superseded/{CELL.id}")]
    assert any(name.endswith("model.safetensors") for name in kept)  # only the first machine had them
    put(second)
    third.refresh(*DOWNLOADED)
    assert third.is_current(CELL.id) and not third.find_weights(CELL.id).exists()


def test_no_opening_is_lost_or_told_twice(machines: Machines, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second, third = map(machines.store, ("first", "second", "third"))
    put(first)
    second.refresh(*DOWNLOADED)
    with monkeypatch.context() as patched:
        patched.setattr(MirroredStore, "send", lambda *_: (_ for _ in ()).throw(StorageUnavailable(5, "away")))
        with pytest.raises(StorageUnavailable):
            first.add_evaluation(CELL.id, "test", {"test/top1": 0.5}, made_up_predictions(), NOTE)
    assert first.evaluated(CELL.id) == set()  # what could not be logged is not there
    for store in (first, second):
        store.add_evaluation(CELL.id, "test", {"test/top1": 0.5}, made_up_predictions(), NOTE)
    machines.store("first").flush()
    for store in (third, third, first, second):
        store.refresh(*DOWNLOADED)
        assert sorted(line.cell for line in store.unsealings()) == 3 * [CELL.id]


@pytest.mark.parametrize(
    "name",
    ["cells/x/../../../evil.json", "/evil.json", "notes.txt"],
)
def test_no_name_leaves_the_mirror_and_only_files_of_results_are_brought(machines: Machines, name: str) -> None:
    """What lies under a prefix may come from anybody."""
    machines.server.put(f"{machines.prefix}/{name}", b"{}")
    assert f"{machines.prefix}/{name}" in machines.server.everything()
    store = machines.store("first")
    store.refresh(*DOWNLOADED, "logs", "pending")
    assert [path for path in machines.place.rglob("*") if path.is_file()] == []


def test_a_sweep_elsewhere_that_keeps_writing_its_state_there_holds_the_folder(
    machines: Machines, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, there = machines.store("here"), machines.store("there")
    now = time.time()
    state = SweepState(recipe="small", host="another-machine", pid=7, started=now - 60, updated=now, counts=Counts())

    def listen(seconds: float) -> None:
        write_state(there, state.model_copy(update={"updated": state.updated + 1}))

    write_state(there, state)
    monkeypatch.setattr(storage, "time", SimpleNamespace(**{**vars(time), "sleep": listen}))
    with pytest.raises(UserError, match=f"works in '{machines.url}': process 7 on another-machine"), sweep_lock(here):
        pass
    assert [one.host for one in read_states(here)] == ["another-machine"]


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("ftp://lab/runs", "is not s3://BUCKET"),
        (f"s3://{KEY}:{SECRET}@lab/runs", "may hold no credentials"),
        (f"s3://lab/runs?secret_key={SECRET}", "no query"),
        ("s3://lab/../runs", "'..'"),
    ],
)
def test_a_url_that_cannot_be_meant_is_refused_and_no_secret_in_it_repeated(url: str, says: str) -> None:
    with pytest.raises(UserError, match=says) as raised:
        checked_url(url)
    assert SECRET not in str(raised.value) and KEY not in str(raised.value)


@pytest.mark.parametrize(
    ("endpoint", "bucket", "says"),
    [
        ("", "no-such-bucket", "there is no such bucket"),
        (f"http://{KEY}:{SECRET}@127.0.0.1:1", BUCKET, "network connection|cannot be used"),
    ],
)
def test_an_object_store_that_cannot_be_used_is_refused_in_a_sentence(
    machines: Machines, monkeypatch: pytest.MonkeyPatch, endpoint: str, bucket: str, says: str
) -> None:
    monkeypatch.setenv("CARFT_MIRRORS", str(machines.place))
    monkeypatch.setattr(mirror, "ATTEMPTS", 1)
    if endpoint:
        monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
    with pytest.raises(UserError, match=says) as refused:
        open_store(f"s3://{bucket}/runs", BUILT_IN)
    assert refused.value.hint and SECRET not in str(refused.value)


@pytest.mark.full
@pytest.mark.slow
def test_single_cells_and_what_is_made_of_them(machines: Machines, tmp_path: Path) -> None:
    """train on one machine, interpolate and merge on another, which has the weights from the object store."""
    first, second = (machines.server.machine(tmp_path / name) for name in ("first", "second"))
    done = run_cli("train", "--task", TASK, "--method", "ft", "--lr", LR, "--epochs", 1, "--unseal",
                   "--results", machines.url, "--json", env=first)  # fmt: skip
    assert done.returncode == 0, done.stderr
    trained = json.loads(done.stdout)
    curve = run_cli("combine", "wise_ft", "--cells", trained["cell"], "--results", machines.url, "--json", env=second)
    assert curve.returncode == 0, curve.stderr
    weights = [next(Path(env["CARFT_MIRRORS"]).rglob("model.safetensors")).read_bytes() for env in (first, second)]
    assert weights[0] == weights[1]
    tops = [point["metrics"]["test/top1"] for point in json.loads(curve.stdout)]
    assert len(tops) == len(WISE_ALPHAS) and tops[-1] == trained["metrics"]["test/top1"]
    merged = run_cli("results", "import", machines.url, machines.url, "--to", tmp_path / "both", env=second)
    assert merged.returncode == 0, merged.stderr
    assert len(Store(tmp_path / "both").ids()) == 1 + len(WISE_ALPHAS)
    assert Store(tmp_path / "both").find_weights(trained["cell"]).read_bytes() == weights[0]
