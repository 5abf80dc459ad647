"""The address of a cluster: refused where no sweep can join it, with what to do."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

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
    """A head of a cluster that answers requests with the token ``right`` only, as Ray's does."""

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler:
        given = dict(details.invocation_metadata).get("authorization")

        def answer(request: bytes, context: grpc.ServicerContext) -> bytes:
            if given != "Bearer right":
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


@pytest.mark.parametrize(
    ("mode", "token", "says"),
    [
        (None, "right", "requires a token, and none is sent"),
        ("token", None, "requires a token, and none is sent"),
        ("token", "wrong", "refuses the one of this user"),
        ("token", "right", None),
    ],
)
@pytest.mark.parametrize("in_file", [True, False])
def test_a_cluster_that_requires_a_token_says_so_before_anything_else(
    guarded_head: str,
    mode: str | None,
    token: str | None,
    says: str | None,
    in_file: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    if mode:
        monkeypatch.setenv("RAY_AUTH_MODE", mode)
    if token and in_file:
        (tmp_path / ".ray").mkdir()
        (tmp_path / ".ray" / "auth_token").write_text(f"{token}\n")
    elif token:
        monkeypatch.setenv("RAY_AUTH_TOKEN", token)
    probe(guarded_head)  # it answers
    if says is None:
        Resources(address=guarded_head).check()
        return
    with pytest.raises(UserError, match=says) as refusal:
        Resources(address=guarded_head).check()
    assert "RAY_AUTH_MODE=token" in refusal.value.hint


@pytest.mark.parametrize("address", ["ray://127.0.0.1:10001", "head", "127.0.0.1:port"])
def test_an_address_that_no_sweep_can_join_is_refused(address: str) -> None:
    with pytest.raises(UserError, match="is not the address of a cluster's head"):
        Resources(address=address).check()
