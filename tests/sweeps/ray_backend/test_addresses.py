"""The address of a cluster: refused where no sweep can join it, with what to do."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest

from carft.core.errors import UserError
from sweeps.ray_backend.connect import Resources, probe


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


@pytest.mark.parametrize("door", [b"", b"HTTP/1.1 400 Bad Request\r\n\r\n"], indirect=True, ids=["silent", "http"])
def test_what_accepts_connections_and_is_no_ray_is_refused(door: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sweeps.ray_backend.connect.HANDSHAKE_SECONDS", 1.0)
    with pytest.raises(UserError, match="is not the head of a Ray cluster"):
        probe(door)


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
    monkeypatch.delenv("RAY_AUTH_MODE", raising=False)
    with pytest.raises(UserError, match="requires a token, and none is sent") as refused:
        Resources(address=guarded_head).check()
    assert "RAY_AUTH_MODE=token" in refused.value.hint
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    Resources(address=guarded_head).check()


@pytest.mark.parametrize("address", ["ray://127.0.0.1:10001", "head", "127.0.0.1:port"])
def test_an_address_that_no_sweep_can_join_is_refused(address: str) -> None:
    with pytest.raises(UserError, match="is not the address of a cluster's head"):
        Resources(address=address).check()
