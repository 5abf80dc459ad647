"""Connects to Ray, and raises at once where a connection would hang."""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from carft.core.errors import UserError
from carft.core.settings import Settings
from carft.training.device import nvidia_driver, use_repeatable_cublas
from carft.training.execution import Execution

PROBE_SECONDS = 5.0
#: seconds that a busy head may take to answer
HANDSHAKE_SECONDS = 8.0
#: default of the seconds that a sweep waits for a node that can run a cell
PATIENCE = 60.0
#: default of the seconds without a heartbeat after which a cell is ended
HANG_AFTER = 1800.0
TOKEN_HINT = (
    "Set RAY_AUTH_MODE=token, and put the token of the head into RAY_AUTH_TOKEN or ~/.ray/auth_token. On the head, "
    "'ray get-auth-token' prints it."
)


class RayNotStarted(UserError):
    """The Ray of this sweep did not start in Ray's own 30 s, as happens on a busy machine."""


@dataclass(frozen=True)
class Resources(Settings):
    """Resources that a sweep requests from the cluster, and the execution of its cells.

    The described fields are options of ``sweep``, ``plan`` and ``audit``.
    """

    gpus: Annotated[int, Field(ge=0, description="GPUs for the whole sweep; 0 runs on CPU cores.")] = 0
    execution: Execution = field(default_factory=Execution)
    """Execution of each cell."""
    address: Annotated[
        str | None, Field(description="host:port of a running cluster's head, or auto; default: this machine.")
    ] = None
    hang_after: Annotated[
        float, Field(ge=0, description="Seconds without progress after which a cell is ended; 0: never.")
    ] = HANG_AFTER
    patience: Annotated[
        float, Field(ge=0, description="Seconds to wait for a node that can run a cell when none is alive.")
    ] = PATIENCE
    gpu_model: Annotated[
        str, Field(description="GPU card that a forecast assumes, such as H100; default: this machine's.")
    ] = ""
    widens: bool = False
    """Whether a confirm cell of several workers gets the workers that no other job needs, late in the sweep."""

    @property
    def workers_per_cell(self) -> int:
        """Workers of each cell, each of which has one CPU."""
        return self.execution.workers

    @property
    def cells_per_gpu(self) -> int:
        """Cells that share a GPU."""
        return self.execution.cells_per_gpu

    def check(self) -> None:
        """Raise ``UserError`` for impossible numbers, a dead address, and GPUs that this machine does not have."""
        self.check_numbers()
        if self.address:
            if self.address != "auto":
                require_accepted_token(self.address)
        elif self.gpus:
            require_gpus(self.gpus)

    def check_numbers(self) -> None:
        """Raise ``UserError`` for impossible numbers."""
        if self.gpus and self.gpus < self.workers_per_cell:
            raise UserError(
                f"A cell of {self.workers_per_cell} workers needs {self.workers_per_cell} GPUs; --gpus is {self.gpus}.",
                "Raise --gpus or lower --workers-per-cell.",
            )
        if not self.gpus and (self.cells_per_gpu > 1 or self.gpu_model):
            option = "--gpu-model names a GPU card" if self.gpu_model else "--cells-per-gpu shares GPUs"
            raise UserError(f"{option}, but --gpus asks for none.", "Give --gpus N as well.")
        if self.cells_per_gpu > 1 and self.workers_per_cell > 1:
            raise UserError(
                f"A cell of {self.workers_per_cell} workers needs a whole GPU for each of them.",
                "Leave --cells-per-gpu or --workers-per-cell out.",
            )


def probe(address: str) -> None:
    """Raise ``UserError`` unless the head of a Ray cluster answers at host:port. ``auto`` is not probed.

    Ray itself would wait for minutes at a port that accepts connections and never answers.
    """
    if address != "auto":
        _accepts(address, token="")


def require_accepted_token(address: str, mode: str = "") -> None:
    """Raise ``UserError`` if the head at host:port requires a token and refuses the one that Ray would send.

    Ray itself would try for 20 s, and then say that the cluster cannot be reached.

    Args:
        address: Of the head.
        mode: ``RAY_AUTH_MODE`` where the variable is not set.
    """
    token = _token() if os.environ.get("RAY_AUTH_MODE", mode).lower() == "token" else ""
    if not _accepts(address, token):
        why = "it refuses the one of this user" if token else "none is sent to it"
        raise UserError(f"The Ray cluster at {address} requires a token, and {why}.", TOKEN_HINT)


def _token() -> str:
    """The token of this user, from where Ray reads it; empty where there is none."""
    if token := os.environ.get("RAY_AUTH_TOKEN"):
        return token.strip()
    path = Path(os.environ.get("RAY_AUTH_TOKEN_PATH") or Path.home() / ".ray" / "auth_token")
    try:
        return path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        return ""


def _accepts(address: str, token: str) -> bool:
    """Whether the head at host:port accepts a token, which is empty for none; ``UserError`` where no head answers.

    Where Ray's TLS is on, which this request does not speak, only the port is tried.
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

    metadata = [("authorization", f"Bearer {token}")] if token else []
    with grpc.insecure_channel(f"{host}:{port}", options=[("grpc.enable_http_proxy", 0)]) as channel:
        request = channel.unary_unary("/ray.rpc.NodeInfoGcsService/CheckAlive")
        try:
            request(b"", timeout=HANDSHAKE_SECONDS, metadata=metadata, wait_for_ready=True)
        except grpc.RpcError as error:
            if error.code() is grpc.StatusCode.UNAUTHENTICATED:
                return False
            raise UserError(
                f"Something listens at {address}, but it is not the head of a Ray cluster.",
                "The port of the head is 6379, unless it was started with another.",
            ) from error
    return True


def require_gpus(wanted: int) -> None:
    """Raise ``UserError`` unless torch sees so many GPUs on this machine; it says what to install where it cannot."""
    import torch

    count = torch.cuda.device_count()
    if count >= wanted:
        return
    driver = nvidia_driver()
    if driver is not None and count < driver.gpus:
        raise UserError(
            f"--gpus {wanted} was asked for. nvidia-smi lists {driver.gpus} GPUs, and torch sees {count} of them: "
            f"torch {torch.__version__} is built for CUDA {torch.version.cuda or 'none (CPU only)'}, and the driver is "
            f"{driver.version}.",
            "Install a torch that is built for a CUDA version of this driver (nvidia-smi names its newest), or a newer "
            "driver. CUDA_VISIBLE_DEVICES may hide GPUs too.",
        )
    raise UserError(
        f"--gpus {wanted} was asked for, but this machine has {count} GPUs.",
        "Leave --gpus out to run on the CPU, or give --address of a cluster that has them.",
    )


def connect(request: Resources) -> None:
    """Start Ray on this machine or join the cluster.

    Raises:
        RayNotStarted: Ray does not start on this machine.
        UserError: The cluster cannot be reached, or its resources can never hold one cell.
    """
    # otherwise Ray waits for 30 s after SIGTERM; it reads the variable at import
    os.environ.setdefault("RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S", "0")
    use_repeatable_cublas()  # the processes of a local Ray inherit the environment
    import ray

    os.environ.setdefault("RAY_TRAIN_V2_ENABLED", "1")
    os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
    try:
        if request.address == "auto":  # a cluster that Ray finds by itself: it then sends a token where there is one
            from ray._private.services import canonicalize_bootstrap_address

            require_accepted_token(canonicalize_bootstrap_address("auto") or "", mode="token")
        if request.address:
            ray.init(request.address, **quiet)
        else:
            several = request.workers_per_cell > 1
            # the clean-up of a stopped multi-worker run hangs without the dashboard
            ray.init("local", include_dashboard=several, **quiet)  # never a Ray that another process started
    except UserError:
        raise
    except Exception as error:  # on a timeout of the start Ray raises the class itself
        first = str(error).splitlines()[0].partition(". ")[0].rstrip(".")
        if request.address:
            raise UserError(
                f"The Ray cluster cannot be reached: {first}.", "Check it with 'ray status' on its head."
            ) from error
        raise RayNotStarted(f"Ray could not be started: {first}.") from error
    found = ray.cluster_resources()
    for resource, needed in (("CPU", request.workers_per_cell), ("GPU", request.gpus)):
        if found.get(resource, 0) < needed:
            ray.shutdown()
            raise UserError(
                f"This needs {needed:g} {resource}s, but the cluster has {found.get(resource, 0):g}.",
                "Lower --gpus or --workers-per-cell, or add nodes.",
            )


def own_node() -> str:
    """Id of the node that this process is connected to."""
    import ray

    return ray.get_runtime_context().get_node_id()


def is_alive(node_id: str) -> bool:
    """Whether a node is alive for Ray; a dead node does not come back."""
    import ray

    return any(node["Alive"] and node["NodeID"] == node_id for node in ray.nodes())
