"""Monitors Ray while a sweep runs: its processes, and whether any node can run a job.

Tune waits without limit for a node that does not come back. When the control service is dead, the main thread waits in
native code and handles neither signals nor exceptions, and Ray kills the process after a minute. Threads therefore
poll, and end the process before that.
"""

import os
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from carft.core.errors import UserError
from sweeps.plan.resources import Resources
from sweeps.ray_backend.connect import probe_head
from sweeps.ray_backend.gpus import has_room

POLL_S = 1.0
#: polls in a row that must find a process of Ray dead, and failed probes of a head, of which a single one may be slow
MIN_FAILURES, MIN_SILENT = 2, 3
#: seconds between two probes of the head of a cluster
PROBE_S = 3.0
#: Ray's variable, and its default in seconds, for the time after which Ray ends a driver whose head does not answer
RECONNECT_TIMEOUT = ("RAY_gcs_rpc_server_reconnect_timeout_s", 60.0)
#: share of that time after which the sweep exits; a head that comes back earlier is joined again by Ray
SHARE = 2 / 3
RESUME_HINT = "Finished cells are kept; the same command goes on where it stopped."

#: (host, port)
Endpoint = tuple[str, int]
#: called in a thread once Ray cannot go on; must end the process, since the main thread may be blocked
OnRayLost = Callable[[UserError], None]


@contextmanager
def monitor_ray(request: Resources, on_lost: OnRayLost) -> Iterator[None]:
    """Call ``on_lost`` in a thread once Ray, which is connected, can run no job any more.

    That is the case when a process of a Ray that this machine started died, when the node of this process is dead for
    the cluster, or when no node that can run a job was alive for ``request.patience`` seconds. ``on_lost`` must end the
    process, since the main thread may be blocked.
    """
    endpoints: Mapping[str, Endpoint] = {}
    if request.address is None:
        endpoints = own_endpoints()
    with _until_over(on_lost) as (end, over):
        threading.Thread(target=_end_without_room, args=(request, end, over), daemon=True).start()
        threading.Thread(target=_monitor_endpoints, args=(endpoints, end, over), daemon=True).start()
        try:
            yield
        except Exception:  # Ray may raise before the threads notice
            for name, endpoint in endpoints.items():
                if _refuses(endpoint):
                    end(_died(name))
                    break
            raise


@contextmanager
def monitor_head(address: str | None, on_lost: OnRayLost) -> Iterator[OnRayLost]:
    """Call ``on_lost`` in a thread once the head at ``address`` has not answered for a while. None: no monitor.

    The block may also connect to the cluster and leave it. ``on_lost`` must end the process, which Ray does otherwise.
    Yields ``on_lost`` for other monitors: one call at a time.
    """
    with _until_over(on_lost) as (end, over):
        if address is not None:
            threading.Thread(target=_monitor_head, args=(address, end, over), daemon=True).start()
        yield end


@contextmanager
def _until_over(on_lost: OnRayLost) -> Iterator[tuple[OnRayLost, threading.Event]]:
    """Yield a form of ``on_lost`` for threads, which does nothing after the block, and an event that is set then."""
    over, decided = threading.Event(), threading.Lock()

    def end(error: UserError) -> None:
        with decided:
            if not over.is_set():
                on_lost(error)

    try:
        yield end, over
    finally:
        with decided:
            over.set()


def own_endpoints() -> Mapping[str, Endpoint]:
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
            if not _refuses(endpoint):
                failures[name] = 0
                continue
            failures[name] += 1
            if failures[name] >= MIN_FAILURES:
                return end(_died(name))


def _died(name: str) -> UserError:
    return UserError(f"Ray's {name} on this machine died.", RESUME_HINT)


def _refuses(endpoint: Endpoint) -> bool:
    """Whether the endpoint refuses connections; a timeout does not count."""
    try:
        socket.create_connection(endpoint, timeout=POLL_S).close()
    except OSError as error:
        return isinstance(error, ConnectionRefusedError)
    return False


def _monitor_head(address: str, end: OnRayLost, over: threading.Event) -> None:
    """address: as it was given; ``auto`` is looked up once Ray is connected, and no silence counts before."""
    name, default = RECONNECT_TIMEOUT
    limit = SHARE * float(os.environ.get(name, default))
    place = "" if address == "auto" else address
    answered, failures = time.monotonic(), 0
    while not over.wait(PROBE_S):
        try:
            place = place or _connected_to()
            if place:
                probe_head(place)
            answered, failures = time.monotonic(), 0
        except Exception:  # any error counts as no answer, and must not end the thread
            failures += 1
        silent = time.monotonic() - answered
        if silent > limit and failures >= MIN_SILENT:
            words = f"The head of the cluster at {address} has not answered for {silent:.0f} s."
            return end(UserError(words, f"Start it again. {RESUME_HINT}"))


def _connected_to() -> str:
    """Address of the head that this process is connected to; empty before."""
    if "ray" not in sys.modules:  # which is imported once its variables are set
        return ""
    import ray

    if not ray.is_initialized():
        return ""
    return ray.get_runtime_context().gcs_address


def _end_without_room(request: Resources, end: OnRayLost, over: threading.Event) -> None:
    """End the sweep where its own node is dead, or no node has had room for a cell for too long."""
    seen, is_dead = time.monotonic(), False
    where = f"the cluster at {request.address}" if request.address else "Ray on this machine"
    while not over.wait(POLL_S):
        try:
            is_dead = own_node_is_dead()
            if has_room(request):
                seen = time.monotonic()
        except Exception:  # a failed request tells nothing about the nodes
            seen = time.monotonic()
        if is_dead:
            return end(UserError(f"The node that the sweep itself runs on is dead for {where}.", RESUME_HINT))
        alone = time.monotonic() - seen
        if alone > request.patience:
            words = f"No node of {where} that could run a cell was alive for {alone:.0f} s."
            return end(UserError(words, RESUME_HINT))


def own_node_is_dead() -> bool:
    """Whether the node that this process is connected to is dead for Ray; a dead node does not come back."""
    import ray

    own = ray.get_runtime_context().get_node_id()
    return not any(node["Alive"] and node["NodeID"] == own for node in ray.nodes())
