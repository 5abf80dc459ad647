"""Connects to Ray, and raises at once where a connection would hang."""

import os
import secrets
import socket
import sys
from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import replace
from typing import Any

import psutil

from carft.core.errors import UserError
from carft.core.garbage import collect_rarely
from carft.core.machine import slowest_card
from carft.training.device import nvidia_smi, use_repeatable_cublas
from sweeps.plan.resources import Resources

PROBE_SECONDS = 5.0
#: seconds that a busy head may take to answer
HANDSHAKE_SECONDS = 8.0
#: starts of Ray on this machine at most
STARTS = 3
#: what Ray says where its raylet, or its control service, runs and did not answer in time
START_TIMEOUTS = ("timed out during startup", "Last connection error: Traceback")
#: has Ray start on the loopback interface; read when Ray is imported. Ray names it after the systems where it is off
ON_ALL_INTERFACES = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"
TOKEN_HINT = (
    "Set RAY_AUTH_MODE=token, and put the token that 'ray get-auth-token' prints on the head into RAY_AUTH_TOKEN or "
    "~/.ray/auth_token."
)
#: what Ray's resource begins with that names the GPU card of a node, such as accelerator_type:H100
ACCELERATOR = "accelerator_type:"
UNREACHABLE_HINT = f"Check it with 'ray status' on its head. Does it require another token? {TOKEN_HINT}"


def require_resources(request: Resources) -> None:
    """Raise ``UserError`` for impossible numbers, a dead address, and GPUs or cores that are not here."""
    request.check_numbers()
    if request.address:
        if request.address != "auto" and not probe_head(request.address) and not sends_token():
            raise UserError(f"The Ray cluster at {request.address} requires a token, and none is sent.", TOKEN_HINT)
        return
    if request.gpus:
        require_gpus(request.gpus)
    if request.execution.workers > (cores := os.cpu_count() or 1):
        raise UserError(
            f"A cell of {request.execution.workers} workers needs as many CPU cores; this machine has {cores}.",
            "Ask for fewer workers, or give --address of a cluster that has the cores.",
        )


def probe_head(address: str) -> bool:
    """Return whether the head of a Ray cluster at host:port answers without a token. ``UserError`` where no head is.

    Ray itself would wait for minutes at a port that accepts connections and never answers. Where Ray's TLS is on, which
    this request does not speak, only the port is tried.
    """
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit() or "/" in host:
        raise UserError(
            f"'{address}' is not the address of a cluster's head.",
            "Give host:port or auto, on a node of the cluster. From elsewhere submit a job (deploy/submit.sh).",
        )
    try:
        socket.create_connection((host, int(port)), timeout=PROBE_SECONDS).close()
    except (OSError, OverflowError) as error:
        raise UserError(
            f"No Ray cluster answers at {address}: {error}.",
            "Check the address with 'ray status', or leave --address out to run on this machine.",
        ) from error
    if os.environ.get("RAY_USE_TLS"):
        return True
    import grpc

    with grpc.insecure_channel(f"{host}:{port}", options=[("grpc.enable_http_proxy", 0)]) as channel:
        request = channel.unary_unary("/ray.rpc.NodeInfoGcsService/CheckAlive")
        try:
            request(b"", timeout=HANDSHAKE_SECONDS, wait_for_ready=True)
        except grpc.RpcError as error:
            if error.code() is grpc.StatusCode.UNAUTHENTICATED:
                return False
            raise UserError(
                f"Something listens at {address}, but it is not the head of a Ray cluster.",
                "The port of the head is 6379, unless it was started with another.",
            ) from error
    return True


def sends_token() -> bool:
    """Return whether Ray sends a token to a cluster whose address is given: by its settings, or else by its default."""
    from ray._raylet import AuthenticationMode, get_authentication_mode  # type: ignore[attr-defined]

    return get_authentication_mode() != AuthenticationMode.DISABLED


def require_gpus(wanted: int) -> None:
    """Raise ``UserError`` unless torch sees so many GPUs on this machine; it says what to install where it cannot."""
    import torch

    count = torch.cuda.device_count()
    if count >= wanted:
        return
    drivers = nvidia_smi("driver_version")  # of each GPU
    built = f"torch {torch.__version__} is built for CUDA {torch.version.cuda or 'none (CPU only)'}"
    driver = f", and the driver is {drivers[0].strip()}" if drivers else ""
    raise UserError(
        f"{wanted} GPUs are asked for. nvidia-smi lists {len(drivers)} GPUs, and torch sees {count} of them: "
        f"{built}{driver}.",
        "Give --gpus 0 to run on the CPU, or --address of a cluster that has them. Where torch sees fewer than there "
        "are, install a torch that is built for a CUDA version of this driver (nvidia-smi names its newest), or a "
        "newer driver. CUDA_VISIBLE_DEVICES may hide GPUs too.",
    )


def connect(request: Resources, log: Callable[[str], None]) -> None:
    """Start Ray on this machine or join the cluster. log: gets one sentence when Ray is started again.

    Raises:
        UserError: Ray does not start on this machine, the cluster cannot be reached, or its resources can never hold
            one cell.
    """
    # otherwise Ray waits for 30 s after SIGTERM; it reads these variables at import
    os.environ.setdefault("RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S", "0")
    os.environ.setdefault("RAY_ENABLE_AUTO_CONNECT", "0")  # a thread that calls Ray after the sweep would connect again
    use_repeatable_cublas()  # the processes of a local Ray inherit the environment
    if not request.address:
        _close_local_ray()
    import ray

    os.environ.setdefault("RAY_TRAIN_V2_ENABLED", "1")
    # seconds between two looks at the workers of a cell, by default 2, which a small cell would wait for at its end
    os.environ.setdefault("RAY_TRAIN_HEALTH_CHECK_INTERVAL_S", "0.5")
    os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
    several = request.execution.workers > 1
    if several:
        options["runtime_env"] = {"worker_process_setup_hook": f"{__name__}.{prepare_worker.__name__}"}
    try:
        if request.address:
            ray.init(request.address, **options)
        else:
            # the clean-up of a stopped multi-worker run hangs without the dashboard
            _start(log, include_dashboard=several, **options)
    except Exception as error:
        first = str(error).splitlines()[0].partition(". ")[0].rstrip(".")
        if request.address:
            raise UserError(f"The Ray cluster cannot be reached: {first}.", UNREACHABLE_HINT) from error
        raise UserError(f"Ray could not be started: {first}.", "The same command tries it again.") from error
    available = ray.cluster_resources()
    for resource, needed in (("CPU", request.execution.workers), ("GPU", request.gpus)):
        if available.get(resource, 0) < needed:
            ray.shutdown()
            raise UserError(
                f"This needs {needed:g} {resource}s, but the cluster has {available.get(resource, 0):g}.",
                "Lower --gpus or --workers-per-cell, or add nodes.",
            )


def with_nodes(request: Resources, log: Callable[[str], None]) -> Resources:
    """The request with what Ray says of the cluster's nodes: their card, unless the request names one, and their GPUs.

    Unchanged without a cluster or GPUs, and where the cluster cannot be joined, which is said where a sweep joins it.
    Of several cards the slowest counts; none does where the speed of one is not known.
    """
    if request.address is None or not request.gpus:
        return request
    import ray

    try:
        require_resources(request)
        connect(request, log)
        nodes = [node["Resources"] for node in ray.nodes() if node["Alive"] and node["Resources"].get("GPU", 0) >= 1]
    except UserError:
        return request
    finally:
        ray.shutdown()
    cards = []
    for node in nodes:
        named = [name.removeprefix(ACCELERATOR) for name in node if name.startswith(ACCELERATOR)]
        cards += named or [""]
    smallest = min(int(node["GPU"]) for node in nodes)
    return replace(request, gpu_model=request.gpu_model or slowest_card(cards), node_gpus=smallest)


def prepare_worker() -> None:
    """Prepare a process of a cell on several workers: one of these, or one that Ray Train starts beside them.

    Each imports Ray Train, so it looks for garbage rarely. Ray's state API is told which Ray the process belongs to.
    Ray Train asks that API whether a cell's controller is alive, and removes the cell's resources if not. By default
    the API asks the Ray that was last started by ``ray start`` on this machine, which may be another one, or none.
    """
    import ray

    collect_rarely()
    os.environ["RAY_API_SERVER_ADDRESS"] = ray.get_runtime_context().gcs_address


def _close_local_ray() -> None:
    """Have a Ray on this machine require a token that no file holds, and listen on the loopback interface alone."""
    if "ray" not in sys.modules:  # its processes and this one have to agree
        os.environ[ON_ALL_INTERFACES] = "0"
    os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))  # Ray reads it once a process
    os.environ.pop("RAY_AUTH_MODE", None)  # Ray then turns tokens on, also where it was imported under another mode


def _start(log: Callable[[str], None], **options: Any) -> None:
    """Start Ray on this machine; :data:`STARTS` times at most where a busy one does not do it within Ray's own 30 s."""
    import ray

    before = psutil.Process().children(recursive=True)
    for number in range(1, STARTS + 1):
        try:
            ray.init("local", **options)  # never a Ray that another process started
            os.environ.pop(ON_ALL_INTERFACES, None)  # processes that join a cluster later inherit the environment
            return
        except Exception as error:  # on a timeout Ray raises the class itself
            kill_child_processes(spared=before)
            if number == STARTS or not any(words in str(error) for words in START_TIMEOUTS):
                raise
            log(f"Ray did not start in time on this machine and is started again, try {number + 1} of {STARTS}.")


def kill_child_processes(spared: Collection[psutil.Process] = ()) -> None:
    """Kill the descendants of this process, which are Ray's. Workers end within a second after their raylet.

    spared: those that are not Ray's.
    """
    children = [process for process in psutil.Process().children(recursive=True) if process not in spared]
    for process in children:
        with suppress(psutil.Error):
            process.kill()
    psutil.wait_procs(children, timeout=10)
