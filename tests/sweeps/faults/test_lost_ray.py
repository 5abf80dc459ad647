"""When Ray is gone: who notices, and what reaches the terminal."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import threading
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from carft.core.errors import UserError
from carft.store.records import Store
from carft.training.execution import Execution
from sweeps.faults.process import sigterm_as_interrupt
from sweeps.faults.storage import StorageRetry
from sweeps.plan.resources import Resources
from sweeps.ray_backend import connect as connecting
from sweeps.ray_backend import driver, gpus, ray_monitor
from sweeps.ray_backend.connect import connect
from sweeps.ray_backend.gpus import has_room
from sweeps.ray_backend.jobs import payload_of
from sweeps.ray_backend.ray_monitor import monitor_ray
from sweeps.ray_backend.searcher import ProtocolSearcher
from sweeps.recipes.loading import load_recipe
from sweeps.search.jobs import Job
from sweeps.search.protocol import Protocol
from tests.support.helpers import ROOT, TASK, quick_cell

ASIDE = """
import os, sys
from pathlib import Path
from sweeps.faults.process import redirect_stdio

with redirect_stdio(Path(sys.argv[1])) as terminal:
    os.write(2, b"native\\n")
    print("python")
    print("for people", file=terminal, flush=True)
print("afterwards")
"""


def test_what_is_printed_aside_reaches_a_file_and_people_their_terminal(tmp_path: Path) -> None:
    log = tmp_path / "folder" / "ray.log"
    done = subprocess.run([sys.executable, "-c", ASIDE, str(log)], cwd=ROOT, capture_output=True, text=True, check=True)
    assert sorted(log.read_text().split()) == ["native", "python"]
    assert done.stderr == "for people\n" and done.stdout == "afterwards\n"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_is_known_to_have_come(number: int) -> None:
    with sigterm_as_interrupt() as stop:
        assert stop.received() == 0
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), number)
            threading.Event().wait()
        assert stop.received() == number


def test_a_stop_whose_exception_was_lost_is_raised_again(store: Store) -> None:
    protocol = Protocol(load_recipe("miniature").smoked().changed([TASK], ["ft"], 1, 1), store)
    retry = StorageRetry(store, print)
    with pytest.raises(SystemExit) as ended, sigterm_as_interrupt() as stop:
        searcher = ProtocolSearcher(protocol, Resources(), retry, lambda: None, gpus.GpuHealth(), stop)
        with suppress(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGTERM)
            threading.Event().wait()
        searcher.suggest("one")
    assert ended.value.code == 128 + signal.SIGTERM and not protocol.running


@pytest.fixture
def looked_at(monkeypatch: pytest.MonkeyPatch) -> list[UserError]:
    """What the watch says of a Ray whose nodes and processes a test makes up."""
    monkeypatch.setattr(ray_monitor, "POLL_S", 0.01)
    monkeypatch.setattr(ray_monitor, "own_endpoints", dict)
    monkeypatch.setattr(ray_monitor, "has_room", lambda request: True)
    monkeypatch.setattr(ray_monitor, "own_node_is_dead", lambda: False)
    return []


def until_said(said: list[UserError], request: Resources) -> str:
    heard = threading.Event()
    with monitor_ray(request, lambda refusal: (said.append(refusal), heard.set())):
        assert heard.wait(60)
    return said[0].message


def test_a_cluster_without_nodes_is_noticed(looked_at: list[UserError], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray_monitor, "has_room", lambda request: False)
    said = until_said(looked_at, Resources(address="10.0.0.1:6379", patience=0.05))
    assert said == "No node of the cluster at 10.0.0.1:6379 that could run a cell was alive for 0 s."


def test_a_cluster_that_lost_the_node_of_the_sweep_itself_is_noticed(
    looked_at: list[UserError], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ray_monitor, "own_node_is_dead", lambda: True)
    said = until_said(looked_at, Resources(address="10.0.0.1:6379"))
    assert said == "The node that the sweep itself runs on is dead for the cluster at 10.0.0.1:6379."


def test_a_process_of_ray_that_listens_no_more_is_noticed(
    looked_at: list[UserError], monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as lively, socket.create_server(("127.0.0.1", 0)) as dead:
        doors = {"one": lively.getsockname(), "other": dead.getsockname()}
        monkeypatch.setattr(ray_monitor, "own_endpoints", lambda: doors)
        dead.close()
        assert until_said(looked_at, Resources()) == "Ray's other on this machine died."
    with pytest.raises(RuntimeError), monitor_ray(Resources(), looked_at.append):
        raise RuntimeError("Ray's words for it, at once")
    assert looked_at[-1].message == "Ray's one on this machine died."


@pytest.mark.parametrize(
    ("request_", "nodes", "room"),
    [
        (Resources(), [], False),
        (Resources(), [{"CPU": 1.0}], True),
        (Resources(gpus=1), [{"CPU": 8.0}, {"GPU": 1.0}], False),
        (Resources(gpus=1), [{"CPU": 8.0, "GPU": 1.0}], True),
        (Resources(execution=Execution(workers=2)), [{"CPU": 1.0}, {"CPU": 1.0}], True),
        (Resources(gpus=2, execution=Execution("cuda", workers=2)), [{"CPU": 2.0, "GPU": 1.0}, {"GPU": 1.0}], False),
        (Resources(gpus=2, execution=Execution("cuda", workers=2)), [{"CPU": 1.0, "GPU": 1.0}] * 2, True),
    ],
)
def test_whether_a_cell_fits_on_the_nodes_that_are_alive(
    monkeypatch: pytest.MonkeyPatch, request_: Resources, nodes: list[dict[str, float]], room: bool
) -> None:
    import ray

    dead = {"Alive": False, "Resources": {"CPU": 64.0, "GPU": 8.0}}
    monkeypatch.setattr(ray, "nodes", lambda: [dead, *({"Alive": True, "Resources": node} for node in nodes)])
    assert has_room(request_) is room
    if request_.execution.workers == 1:
        assert gpus.concurrency(replace(request_, gpus=0)) == max(1, sum(int(n.get("CPU", 0)) for n in nodes))


@pytest.mark.parametrize(
    ("said", "starts"),
    [
        ("The current node timed out during startup. This could happen because ...", connecting.STARTS),
        ("Failed to start GCS. Last connection error: Traceback ...", connecting.STARTS),
        ("[Errno 28] No space left on device", 1),
    ],
)
def test_a_ray_that_is_not_up_in_time_is_started_again_and_the_last_error_is_one_sentence(
    monkeypatch: pytest.MonkeyPatch, said: str, starts: int
) -> None:
    import ray

    def not_started(*_: object, **__: object) -> None:
        of_ray.append(subprocess.Popen(["sleep", "60"]))
        raise RuntimeError(said)

    of_ray: list[subprocess.Popen[bytes]] = []
    log: list[str] = []
    monkeypatch.setattr(ray, "init", not_started)
    monkeypatch.setattr(os, "environ", os.environ.copy())
    with subprocess.Popen(["sleep", "60"]) as other:
        with pytest.raises(UserError, match=re.escape(f"Ray could not be started: {said.partition('. ')[0]}. The s")):
            connect(Resources(), log.append)
        assert other.poll() is None
        other.kill()
    assert len(of_ray) == starts and not any(psutil.pid_exists(process.pid) for process in of_ray)
    assert len(log) == starts - 1 and all("started again" in line for line in log)


def test_a_head_that_dies_at_any_time_of_a_sweep_ends_it_in_a_sentence(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also while the sweep connects, lets its cells write checkpoints or shuts Ray down."""
    said, heard = [], threading.Event()
    monkeypatch.setattr(ray_monitor, "PROBE_S", 0.01)
    monkeypatch.setenv(ray_monitor.RECONNECT_TIMEOUT[0], "0.05")
    monkeypatch.setattr(driver, "run_protocol", lambda *_: int(not heard.wait(60)))
    with socket.create_server(("127.0.0.1", 0)) as head:
        address = f"127.0.0.1:{head.getsockname()[1]}"

    def leave(error: UserError, code: int) -> None:
        said.append((error.message, code))
        heard.set()

    recipe = load_recipe("miniature").changed([TASK], ["zeroshot"])
    driver.run_sweep(recipe, store, Resources(address=address), lambda _: lambda: None, print, leave=leave)
    assert said[0] == (f"The head of the cluster at {address} has not answered for 0 s.", 2)


def test_a_worker_that_fails_while_its_sweep_stops_is_not_taken_for_a_written_checkpoint(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first of the workers says itself that it has written one."""
    from sweeps.ray_backend import jobs, stopping, trainable

    noted: list[str] = []
    stop = SimpleNamespace(note=SimpleNamespace(remote=noted.append))
    monkeypatch.setattr(stopping, "ray", SimpleNamespace(get_actor=lambda name: stop, get=lambda *_, **__: None))
    cell = quick_cell("zeroshot")
    store.root.mkdir()

    def fail(*_: object) -> None:
        raise RuntimeError("connection closed by peer")

    def preempted(*_: object) -> None:
        raise SystemExit

    monkeypatch.setattr(jobs, "run_on_workers", fail)
    monkeypatch.setattr(jobs, "run_job", preempted)
    for workers, expected in ((2, []), (1, [cell.id])):
        actor = trainable.CellActor.__new__(trainable.CellActor)
        execution = Execution(workers=workers)
        actor.message = payload_of(Job("search", cell), store.address, execution, catalog=store.catalog)
        actor.gpu, actor.holds, actor.used, actor.fitted = "", False, False, {}
        actor.steps = None
        with pytest.raises(SystemExit):
            actor.step()
        assert noted == expected
