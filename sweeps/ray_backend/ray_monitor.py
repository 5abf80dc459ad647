"""Ray, watched while a sweep runs on it: its own processes on this machine, and whether any node can run a job.

Tune waits for ever for a node that does not come back. Where the control service is gone, the main thread waits in
native code and hears neither signals nor exceptions. So threads look, and end the process or start it again.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from carft.core.errors import UserError
from sweeps.ray_backend.connect import Resources, has_room, is_alive, own_node
from sweeps.ray_backend.head_monitor import Gone

LOOK_EVERY_S = 1.0
KEPT = "Finished cells are kept; the same command goes on where it stopped."
#: looks in a row at which a process of Ray has to be gone
MISSES = 2


@contextmanager
def watched_ray(request: Resources, gone: Gone) -> Iterator[None]:
    """Within the block, ``gone`` is called once Ray, which is connected, can run nothing any more.

    That is when a process of a Ray of this machine's own died, when the cluster lost the node that this process is
    attached to, with which Ray ends all that it started, and when for ``request.patience`` seconds no node was alive
    that could run a job. ``gone`` has to end the process: the main thread may be stuck.
    """
    over, decided = threading.Event(), threading.Lock()

    def end(refusal: UserError) -> None:
        with decided:
            if not over.is_set():
                gone(refusal)

    doors = _own_doors() if request.address is None else {}
    threading.Thread(target=_watch_nodes, args=(request, own_node(), end, over), daemon=True).start()
    threading.Thread(target=_watch_doors, args=(doors, end, over), daemon=True).start()
    try:
        yield
    except Exception:  # in words of Ray's, perhaps before we looked
        if dead := next((name for name, door in doors.items() if _refuses(door)), None):
            end(_died(dead))
        raise
    finally:
        with decided:
            over.set()


def _own_doors() -> Mapping[str, tuple[str, int]]:
    """Process of Ray -> where it listens, on this machine."""
    import ray

    host, _, port = ray.get_runtime_context().gcs_address.rpartition(":")
    (node,) = ray.nodes()
    return {
        "control service (gcs_server)": (host, int(port)),
        "raylet": (node["NodeManagerAddress"], int(node["NodeManagerPort"])),
    }


def _watch_doors(doors: Mapping[str, tuple[str, int]], end: Gone, over: threading.Event) -> None:
    misses = dict.fromkeys(doors, 0)
    while not over.wait(LOOK_EVERY_S):
        for name, door in doors.items():
            misses[name] = misses[name] + 1 if _refuses(door) else 0
            if misses[name] >= MISSES:
                end(_died(name))
                return


def _died(name: str) -> UserError:
    return UserError(f"Ray's {name} on this machine died.", KEPT)


def _refuses(door: tuple[str, int]) -> bool:
    """Whether nobody listens there; who is only slow to answer does."""
    try:
        socket.create_connection(door, timeout=LOOK_EVERY_S).close()
    except ConnectionRefusedError:
        return True
    except OSError:
        return False
    return False


def _watch_nodes(request: Resources, own: str, end: Gone, over: threading.Event) -> None:
    seen, lost = time.monotonic(), False
    where = f"the cluster at {request.address}" if request.address else "Ray on this machine"
    while not over.wait(LOOK_EVERY_S):
        try:
            lost = not is_alive(own)
            if has_room(request):
                seen = time.monotonic()
        except Exception:  # whatever goes wrong in asking says nothing of the nodes
            seen = time.monotonic()
        if lost:
            end(UserError(f"The node that the sweep itself runs on is dead for {where}.", KEPT))
            return
        if (alone := time.monotonic() - seen) > request.patience:
            end(UserError(f"No node of {where} that could run a cell was alive for {alone:.0f} s.", KEPT))
            return
