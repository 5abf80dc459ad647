"""Who can use the Ray that a sweep starts on this machine, and what a sweep that joins a cluster asks of Ray."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import psutil
import pytest

from sweeps.ray_backend.connect import ON_ALL_INTERFACES, probe_head
from tests.support import dry
from tests.support.faults import SWEEP, Sweep
from tests.support.gates import Gate
from tests.support.helpers import environment, run_cli
from tests.support.nodes import Nodes

pytestmark = pytest.mark.slow


@pytest.fixture
def plain_umask() -> Iterator[None]:
    """Files are readable by everybody unless their writer says otherwise, as on most machines."""
    before = os.umask(0o022)
    yield
    os.umask(before)


def python(code: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """A Python process of somebody who has none of the sweep's settings of Ray."""
    env = {name: value for name, value in environment().items() if not name.startswith("RAY_")}
    command = [sys.executable, "-c", code]
    return subprocess.run(command, env={**env, **variables}, capture_output=True, text=True, check=False, timeout=120)


def files_with(text: str, folders: Sequence[Path]) -> list[Path]:
    paths = [path for folder in folders for path in folder.rglob("*") if path.is_file()]
    return [path for path in paths if text.encode() in path.read_bytes()]


@pytest.mark.full
def test_a_local_ray_answers_its_own_sweep_alone(tmp_path: Path, gate: Gate, plain_umask: None) -> None:
    home = tmp_path / "home"
    home.mkdir()
    with tempfile.TemporaryDirectory(prefix="r") as scratch:  # paths of sockets are short
        places = {"HOME": str(home), "RAY_TMPDIR": scratch}
        sweep = Sweep(tmp_path / "results", *SWEEP, gate=gate, env={**dry.ENVIRONMENT, **places})
        try:
            sweep.until(gate.held, "a cell runs")
            own = psutil.Process(sweep.process.pid)
            processes = [own, *own.children(recursive=True)]
            (head,) = (process for process in processes if process.name() == "gcs_server")
            token = head.environ()["RAY_AUTH_TOKEN"]
            listening = [c.laddr for p in processes for c in p.net_connections("inet") if c.status == "LISTEN"]
            assert listening
            assert [address for address in listening if not is_loopback(address.ip)] == []
            assert [p.name() for p in processes if token in " ".join(p.cmdline())] == []
            assert files_with(token, [home, Path(scratch), sweep.results]) == []
            assert not (home / ".ray").exists()
            (port,) = (c.laddr.port for c in head.net_connections("inet") if c.status == "LISTEN")
            assert not probe_head(f"127.0.0.1:{port}")
            where = {ON_ALL_INTERFACES: "0", "RAY_NUM_REDIS_GET_RETRIES": "1"}
            refused = python(f"import ray; ray.init('127.0.0.1:{port}')", **where)
            assert refused.returncode and "InvalidAuthToken" in refused.stderr
            assert list(Path(scratch).rglob("gcs_server*"))  # the files that were looked at are those of this Ray
        finally:
            gate.open()
            code = sweep.end()
        assert code == 0, sweep.said


def is_loopback(ip: str) -> bool:
    address = ip_address(ip)
    return (getattr(address, "ipv4_mapped", None) or address).is_loopback


@pytest.mark.parametrize(("variables", "sends"), [({}, False), ({"RAY_AUTH_MODE": "token"}, True)])
def test_ray_is_asked_whether_it_sends_a_token(variables: dict[str, str], sends: bool) -> None:
    said = python("from sweeps.ray_backend.connect import sends_token; print(sends_token())", **variables)
    assert said.stdout.split() == [str(sends)], said.stderr


def planned(nodes: Nodes, folder: Path) -> dict[str, Any]:
    asked = ("plan", "ood", "--gpus", 8, "--data", folder, "--results", folder / "results", "--json")
    return json.loads(run_cli(*asked, "--address", nodes.cluster.address).stdout)


@pytest.mark.full
@pytest.mark.ray
def test_a_plan_for_a_cluster_is_of_the_slowest_card_that_its_nodes_have(nodes: Nodes, tmp_path: Path) -> None:
    """The head has no GPU, and this machine has none either."""
    nodes.add(cpus=2, gpus=8, card="H100")
    fast = planned(nodes, tmp_path)
    assert fast["hardware"] == "H100 of any machine" and fast["needs"]["workers"] == 4
    on_one_machine = run_cli(
        *("plan", "ood", "--gpus", 8, "--gpu-model", "H100", "--data", tmp_path, "--results", tmp_path, "--json")
    )
    assert fast["device_hours"] == json.loads(on_one_machine.stdout)["device_hours"]
    nodes.add(cpus=2, gpus=4, card="A100")
    mixed = planned(nodes, tmp_path)
    assert mixed["hardware"] == "A100 of any machine"
    assert mixed["device_hours"] > 2 * fast["device_hours"]
