"""When Ray is gone: who notices, what the sweep hands to the program that goes on, and what reaches the terminal."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

import pytest

from carft.core.errors import UserError
from carft.store.records import Store
from carft.training.execution import Execution
from sweeps.faults.restart import RestartState
from sweeps.faults.signals import sigterm_as_interrupt
from sweeps.ray_backend import gpus, ray_monitor
from sweeps.ray_backend import run as sweep_run
from sweeps.ray_backend.connect import RayNotStarted, Resources
from sweeps.ray_backend.gpus import has_room
from sweeps.ray_backend.ray_monitor import monitor_ray
from sweeps.search.protocol import Protocol
from tests.support.helpers import ROOT
from tests.sweeps.search.test_protocol import Crew, small

#: a program that starts itself again from a thread, while its main thread is busy
AGAIN = """
import os, subprocess, sys, threading, time
from dataclasses import replace
from carft.store.records import Store
from sweeps.faults.restart import kill_child_processes, load_restart_state, restart_program
from sweeps.faults.lock import sweep_lock

earlier = load_restart_state()
with sweep_lock(Store(sys.argv[1]), earlier.lock) as lock:
    if earlier.restarts == 0:
        child = subprocess.Popen(["sleep", "600"])
        print(os.getpid(), child.pid, earlier.name, flush=True)
        environment = {**os.environ, "KEPT": "yes"}
        again = replace(earlier, restarts=1, done=frozenset({"a"}), failed={"search-b": "why"}, lock=lock)
        threading.Thread(target=lambda: (kill_child_processes(), restart_program(again, environment))).start()
        time.sleep(600)
    print(os.getpid(), earlier.name, *earlier.done, earlier.failed["search-b"], os.environ["KEPT"], flush=True)
    print(len(os.listdir("/dev/fd")), "CARFT_SWEEP_RESTART" in os.environ, flush=True)
    sys.stdin.read()
"""
ASIDE = """
import os, sys
from pathlib import Path
from sweeps.faults.stdio_log import redirect_stdio

with redirect_stdio(Path(sys.argv[1])) as stdio:
    os.write(2, b"native\\n")
    print("python")
    print("for people", file=stdio.terminal, flush=True)
print("afterwards")
"""


def test_the_program_that_goes_on_has_the_process_the_lock_and_what_was_done(tmp_path: Path) -> None:
    (tmp_path / "results").mkdir()
    command = [sys.executable, "-c", AGAIN, str(tmp_path / "results")]
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, cwd=ROOT, **pipes) as process:
        assert process.stdout is not None
        pid, child, name = process.stdout.readline().split()
        assert process.stdout.readline().split() == [pid, name, "a", "why", "yes"]
        descriptors, named = process.stdout.readline().split()
        assert int(descriptors) < 10 and named == "False"
        assert not Path(f"/proc/{child}").is_dir()
        second = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        assert f"Another sweep works in '{tmp_path / 'results'}': process {pid} on " in second.stderr
        process.communicate("")
    assert process.returncode == 0


def test_what_a_sweep_finished_before_it_started_again_was_not_found_done(store: Store) -> None:
    found = Protocol(small(), store)
    first = found.next_job()
    assert first is not None
    Crew(store).write(first)
    found.end(first)
    sweep = Protocol(small(), store)
    done, dying = sweep.next_job(), sweep.next_job()
    assert done is not None and dying is not None
    Crew(store).write(done)
    sweep.end(done)
    earlier = RestartState().with_progress(sweep, 3, {"GPU-a": "it is sick"})
    Crew(store).write(dying)
    assert earlier.restarts == 1 and earlier.lock == 3 and earlier.aside == {"GPU-a": "it is sick"}
    again = Protocol(small(), store, own=earlier.done)
    assert again.reused == {first.cell.id}
    assert again.done.keys() == {first.cell.id, done.cell.id, dying.cell.id}


def test_what_is_printed_aside_reaches_a_file_and_people_their_terminal(tmp_path: Path) -> None:
    log = tmp_path / "folder" / "ray.log"
    done = subprocess.run([sys.executable, "-c", ASIDE, str(log)], cwd=ROOT, capture_output=True, text=True, check=True)
    assert sorted(log.read_text().split()) == ["native", "python"]
    assert done.stderr == "for people\n" and done.stdout == "afterwards\n"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_is_known_to_have_come(number: int) -> None:
    with sigterm_as_interrupt() as stop, stop.recorded():
        assert stop.received() == 0
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), number)
            threading.Event().wait()
        assert stop.received() == number


@pytest.fixture
def looked_at(monkeypatch: pytest.MonkeyPatch) -> list[UserError]:
    """What the watch says of a Ray whose nodes and processes a test makes up."""
    monkeypatch.setattr(ray_monitor, "POLL_S", 0.01)
    monkeypatch.setattr(ray_monitor, "_own_endpoints", dict)
    monkeypatch.setattr(ray_monitor, "has_room", lambda request: True)
    monkeypatch.setattr(ray_monitor, "own_node", lambda: "own")
    monkeypatch.setattr(ray_monitor, "is_alive", lambda node: node == "own")
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
    monkeypatch.setattr(ray_monitor, "is_alive", lambda node: False)
    said = until_said(looked_at, Resources(address="10.0.0.1:6379"))
    assert said == "The node that the sweep itself runs on is dead for the cluster at 10.0.0.1:6379."


def test_a_process_of_ray_that_listens_no_more_is_noticed(
    looked_at: list[UserError], monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as lively, socket.create_server(("127.0.0.1", 0)) as dead:
        doors = {"one": lively.getsockname(), "other": dead.getsockname()}
        monkeypatch.setattr(ray_monitor, "_own_endpoints", lambda: doors)
        dead.close()
        assert until_said(looked_at, Resources()) == "Ray's other on this machine died."
    with pytest.raises(RuntimeError), monitor_ray(Resources(), looked_at.append):
        raise RuntimeError("Ray's words for it, at once")
    assert looked_at[-1].message == "Ray's one on this machine died."


@pytest.mark.parametrize(
    ("request_", "nodes", "room"),
    [
        (Resources(), [], False),
        (Resources(), [{"memory": 1.0}], False),
        (Resources(), [{"CPU": 1.0}], True),
        (Resources(gpus=1), [{"CPU": 8.0}, {"GPU": 1.0}], False),
        (Resources(gpus=1), [{"CPU": 8.0, "GPU": 1.0}], True),
        (Resources(gpus=1, execution=Execution("cuda", cells_per_gpu=4)), [{"CPU": 1.0, "GPU": 0.25}], True),
        (Resources(execution=Execution(workers=2)), [{"CPU": 1.0}, {"CPU": 1.0}], True),
        (Resources(execution=Execution(workers=2)), [{"CPU": 1.0}], False),
        (Resources(gpus=2, execution=Execution("cuda", workers=2)), [{"CPU": 2.0, "GPU": 1.0}, {"GPU": 1.0}], False),
        (Resources(gpus=2, execution=Execution("cuda", workers=2)), [{"CPU": 1.0, "GPU": 1.0}] * 2, True),
        (Resources(gpus=2, execution=Execution("cuda", workers=2)), [{"CPU": 2.0, "GPU": 1.0}], False),
    ],
)
def test_whether_a_cell_fits_on_the_nodes_that_are_alive(
    monkeypatch: pytest.MonkeyPatch, request_: Resources, nodes: list[dict[str, float]], room: bool
) -> None:
    import ray

    dead = {"Alive": False, "Resources": {"CPU": 64.0, "GPU": 8.0}}
    monkeypatch.setattr(ray, "nodes", lambda: [dead, *({"Alive": True, "Resources": node} for node in nodes)])
    assert has_room(request_) is room
    if request_.workers_per_cell == 1:
        assert gpus.concurrency(replace(request_, gpus=0)) == max(1, sum(int(n.get("CPU", 0)) for n in nodes))


class _Ended(Exception):
    """The program would end here."""


@pytest.mark.parametrize("restarts", [0, 2])
def test_a_ray_that_does_not_start_is_started_again_twice_at_most(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, restarts: int
) -> None:
    reason = "Ray could not be started: the current node timed out."

    def not_started(request: Resources) -> None:
        raise RayNotStarted(reason)

    seen: dict[str, Any] = {}

    def restart(state: RestartState) -> NoReturn:
        seen["state"] = state
        raise _Ended

    def leave(error: UserError, code: int) -> NoReturn:
        seen["left"] = (error.message, code)
        raise _Ended

    monkeypatch.setattr(sweep_run, "connect", not_started)
    monkeypatch.setattr(sweep_run, "kill_child_processes", lambda: None)
    store, state, said = Store(tmp_path / "results"), RestartState(restarts=restarts), list[str]()
    with pytest.raises(_Ended):
        sweep_run.run_sweep(
            small(), store, Resources(), lambda _: lambda: None, said.append, False, leave, state, restart
        )
    if restarts == 0:
        assert seen["state"].restarts == 1 and seen["state"].name == state.name
        assert said[1:] == [f"{reason} Ray starts again, 1 of 2 times at most."]  # after the head of the journal
    else:
        assert seen["left"] == (reason, 2)
