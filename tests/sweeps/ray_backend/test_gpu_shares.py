"""Where cells run: the address of a cluster, and shares of its GPUs."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import pytest
import ray

from carft.config.settings import MOST_CELLS_PER_GPU
from carft.core.errors import UserError
from carft.models.availability import ModelSize
from carft.store.records import Store
from carft.store.sweep_state import read_states
from carft.training.execution import Execution
from sweeps.plan.rates import Hardware, estimated
from sweeps.plan.resources import Resources
from sweeps.ray_backend.connect import probe_head, require_resources
from sweeps.ray_backend.gpus import actor_resources, concurrency, concurrency_here, cores_per_process
from tests.support.faults import records
from tests.support.gates import Gate
from tests.support.helpers import made_up_record, quick_cell
from tests.support.nodes import Nodes


def shared(cells: int, gpus: int = 1, workers: int = 1) -> Resources:
    return Resources(gpus, Execution("cuda" if gpus else "cpu", workers, cells_per_gpu=cells))


@pytest.mark.parametrize("cells", range(1, MOST_CELLS_PER_GPU + 1))
def test_as_many_shares_as_were_asked_for_fit_on_a_gpu_and_no_more(cells: int) -> None:
    share = round(10_000 * actor_resources(shared(cells))["gpu"])  # Ray counts ten-thousandths
    assert cells * share <= 10_000 < (cells + 1) * share


@pytest.mark.parametrize(("request_", "cells"), [(shared(4), 4), (shared(4, gpus=2), 8), (shared(1, 8, 2), 4)])
def test_cells_at_a_time_are_those_that_the_gpus_hold(monkeypatch, request_: Resources, cells: int) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: 64)
    assert concurrency_here(request_) == cells


@pytest.mark.parametrize(("nodes", "aside", "cells"), [(0, 0, 8), (1, 0, 8), (1, 1, 1), (1, 2, 0)])
def test_cells_that_wait_for_gpus_count_until_one_is_set_aside(
    monkeypatch: pytest.MonkeyPatch, nodes: int, aside: int, cells: int
) -> None:
    """So an autoscaler adds nodes."""
    resources = [{"CPU": 8.0}, *[{"CPU": 2.0, "GPU": 2.0}] * nodes]
    monkeypatch.setattr(ray, "nodes", lambda: [{"Alive": True, "Resources": node} for node in resources])
    assert concurrency(shared(1, gpus=8), aside) == cells


@pytest.mark.parametrize(
    ("request_", "nodes", "cores"),
    [
        (shared(1, 16), [{"CPU": 96.0, "GPU": 8.0}, {"CPU": 32.0, "GPU": 8.0}, {"CPU": 4.0}], 4),
        (shared(1, 8, workers=2), [{"CPU": 64.0, "GPU": 8.0}], 8),
        (shared(4, 2), [{"CPU": 64.0, "GPU": 8.0}], 8),
        (shared(1, 8), [{"CPU": 4.0, "GPU": 8.0}], 1),
        (shared(1, 0), [{"CPU": 64.0}], 1),
    ],
)
def test_cells_get_the_cores_of_the_node_with_the_fewest_divided_by_its_processes(
    monkeypatch: pytest.MonkeyPatch, request_: Resources, nodes: list[dict[str, float]], cores: int
) -> None:
    monkeypatch.setattr(ray, "nodes", lambda: [{"Alive": True, "Resources": node} for node in nodes])
    assert cores_per_process(request_) == cores


@pytest.mark.parametrize(
    ("cells", "gpus", "workers", "says"),
    [
        (0, 1, 1, "greater than or equal to 1"),
        (MOST_CELLS_PER_GPU + 1, 1, 1, "less than or equal to 100"),
        (2, 0, 1, "asks for none"),
        (2, 2, 2, "whole GPU"),
    ],
)
def test_what_cannot_be_shared_is_refused(cells: int, gpus: int, workers: int, says: str) -> None:
    with pytest.raises(UserError, match=says):
        shared(cells, gpus, workers).check_numbers()


def test_a_plan_knows_that_cells_on_one_gpu_slow_each_other_down() -> None:
    size = ModelSize(parameters=10**6, flop=10**9)
    alone, four = (Hardware("cuda", 1, "float32", sharing=sharing) for sharing in (1, 4))
    assert estimated(size, four).seconds == 4 * estimated(size, alone).seconds
    record = made_up_record(quick_cell("zeroshot"))
    record.provenance["execution"] = {"device": "cuda", "workers": 1, "cells_per_gpu": 4}  # type: ignore[index]
    assert four.fits(record) and not alone.fits(record)


@pytest.mark.full
@pytest.mark.ray
@pytest.mark.slow
def test_three_cells_run_at_a_time_on_the_one_gpu_of_a_cluster(nodes: Nodes, gate: Gate, tmp_path: Path) -> None:
    results = tmp_path / "results"
    nodes.add(cpus=4, gpus=1)
    asked = ("--tasks", "icons-3/mix-7", "--methods", "zeroshot,ft", "--gpus", 1, "--cells-per-gpu", 3)
    sweep = nodes.sweep(results, *asked, gate=gate)
    try:
        sweep.until(lambda: len(gate.held()) == 3, "three cells are held")
        ray.init(nodes.cluster.address, log_to_driver=False, logging_level="ERROR")
        sweep.until(lambda: ray.available_resources().get("GPU", 0) < 1 / 3, "Ray has no GPU left for a fourth")
        left = ray.available_resources()
        ray.shutdown()
        assert left["CPU"] >= 1 and len(gate.held()) == 3
        gate.open()
        assert sweep.end() == 0, sweep.said
    finally:
        sweep.kill()
    (state,) = read_states(Store(results))
    assert (state.slots, state.counts.done) == (3, len(records(results)))


@pytest.fixture
def door(request: pytest.FixtureRequest) -> Iterator[str]:
    """host:port of something that accepts connections and, to every byte, gives the parameter as its answer."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                    connection.sendall(request.param)
                except OSError:
                    return
                kept.append(connection)

        kept: list[socket.socket] = []
        threading.Thread(target=serve, daemon=True).start()
        yield f"127.0.0.1:{server.getsockname()[1]}"
        for connection in kept:
            connection.close()


@pytest.mark.parametrize("door", [b"HTTP/1.1 400 Bad Request\r\n\r\n"], indirect=True)
def test_what_accepts_connections_and_is_no_ray_is_refused(door: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sweeps.ray_backend.connect.HANDSHAKE_SECONDS", 1.0)
    with pytest.raises(UserError, match="is not the head of a Ray cluster"):
        probe_head(door)


class Head(grpc.GenericRpcHandler):
    """A head of a cluster that refuses requests without a token, as Ray's does."""

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler:
        def answer(request: bytes, context: grpc.ServicerContext) -> bytes:
            context.abort(grpc.StatusCode.UNAUTHENTICATED, "InvalidAuthToken")
            return b""

        return grpc.unary_unary_rpc_method_handler(answer)


@pytest.fixture
def guarded_head() -> Iterator[str]:
    """host:port of a head that requires a token."""
    server = grpc.server(ThreadPoolExecutor(1), handlers=[Head()])
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield f"127.0.0.1:{port}"
    server.stop(None)


def test_a_head_that_requires_a_token_says_so_unless_one_is_sent(
    guarded_head: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sweeps.ray_backend.connect.sends_token", lambda: False)
    with pytest.raises(UserError, match="requires a token, and none is sent") as refused:
        require_resources(Resources(address=guarded_head))
    assert "RAY_AUTH_MODE=token" in refused.value.hint
    monkeypatch.setattr("sweeps.ray_backend.connect.sends_token", lambda: True)
    require_resources(Resources(address=guarded_head))


@pytest.mark.parametrize("address", ["ray://127.0.0.1:10001", "head", "127.0.0.1:port"])
def test_an_address_that_no_sweep_can_join_is_refused(address: str) -> None:
    with pytest.raises(UserError, match="is not the address of a cluster's head"):
        require_resources(Resources(address=address))
