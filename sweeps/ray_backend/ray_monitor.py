"""Monitors Ray while a sweep runs: its processes on this machine, and whether any node can run a job.

Tune waits without limit for a node that does not come back. When the control service is dead, the main thread waits in
native code and handles neither signals nor exceptions. Threads therefore poll, and end or restart the process.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from carft.core.errors import UserError
from sweeps.ray_backend.connect import Resources, is_alive, own_node
from sweeps.ray_backend.gpus import has_room
from sweeps.ray_backend.head_monitor import RESUME_HINT, OnRayLost

POLL_S = 1.0
#: polls in a row that must find a process of Ray dead
MIN_FAILURES = 2

#: (host, port)
Endpoint = tuple[str, int]


@contextmanager
def monitor_ray(request: Resources, on_lost: OnRayLost) -> Iterator[None]:
    """Call ``on_lost`` in a thread once Ray, which is connected, can run no job any more.

    That is the case when a process of a Ray that this machine started died, when the node of this process is dead for
    the cluster, or when no node that can run a job was alive for ``request.patience`` seconds. ``on_lost`` must end the
    process, since the main thread may be blocked.
    """
    over, decided = threading.Event(), threading.Lock()

    def end(error: UserError) -> None:
        with decided:
            if not over.is_set():
                on_lost(error)

    endpoints = _own_endpoints() if request.address is None else {}
    threading.Thread(target=_monitor_nodes, args=(request, own_node(), end, over), daemon=True).start()
    threading.Thread(target=_monitor_endpoints, args=(endpoints, end, over), daemon=True).start()
    try:
        yield
    except Exception:  # Ray may raise before the threads notice
        if dead := next((name for name, endpoint in endpoints.items() if _refuses(endpoint)), None):
            end(_died(dead))
        raise
    finally:
        with decided:
            over.set()


def _own_endpoints() -> Mapping[str, Endpoint]:
    """Process of Ray on this machine -> its endpoint."""
    import ray

    host, _, port = ray.get_runtime_context().gcs_address.rpartition(":")
    (node,) = ray.nodes()
    return {
        "control service (gcs_server)": (host, int(port)),
        "raylet": (node["NodeManagerAddress"], int(node["NodeManagerPort"])),
    }


def _monitor_endpoints(endpoints: Mapping[str, Endpoint], end: OnRayLost, over: threading.Event) -> None:
    failures = dict.fromkeys(endpoints, 0)
    while not over.wait(POLL_S):
        for name, endpoint in endpoints.items():
            failures[name] = failures[name] + 1 if _refuses(endpoint) else 0
            if failures[name] >= MIN_FAILURES:
                end(_died(name))
                return


def _died(name: str) -> UserError:
    return UserError(f"Ray's {name} on this machine died.", RESUME_HINT)


def _refuses(endpoint: Endpoint) -> bool:
    """Whether the endpoint refuses connections; a timeout does not count."""
    try:
        socket.create_connection(endpoint, timeout=POLL_S).close()
    except OSError as error:
        return isinstance(error, ConnectionRefusedError)
    return False


def _monitor_nodes(request: Resources, own: str, end: OnRayLost, over: threading.Event) -> None:
    seen, lost = time.monotonic(), False
    where = f"the cluster at {request.address}" if request.address else "Ray on this machine"
    while not over.wait(POLL_S):
        try:
            lost = not is_alive(own)
            if has_room(request):
                seen = time.monotonic()
        except Exception:  # a failed request tells nothing about the nodes
            seen = time.monotonic()
        if lost:
            end(UserError(f"The node that the sweep itself runs on is dead for {where}.", RESUME_HINT))
            return
        if (alone := time.monotonic() - seen) > request.patience:
            end(UserError(f"No node of {where} that could run a cell was alive for {alone:.0f} s.", RESUME_HINT))
            return
