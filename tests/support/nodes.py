"""Several Ray nodes on one machine, and sweeps of cells that compute nothing on them."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ray.cluster_utils import Cluster

from tests.support import dry
from tests.support.faults import Sweep, below
from tests.support.gates import Gate

#: a node that is gone is noticed within ten seconds; sooner, one that a busy machine starves would count as gone
SOON = {"health_check_initial_delay_ms": 0, "health_check_period_ms": 1000, "health_check_failure_threshold": 10}


class Nodes:
    """A head that a sweep can join; nodes come and go."""

    def __init__(self, dashboard: bool = False) -> None:
        self.dashboard = dashboard
        self.restart()

    def restart(self) -> None:
        head = {"num_cpus": 1, "include_dashboard": self.dashboard, "_system_config": SOON}
        self.cluster = Cluster(initialize_head=True, head_node_args=head)

    def add(self, cpus: int, gpus: int = 0, card: str = "") -> Any:
        """GPUs need not be there: Ray counts what it is told. card: their accelerator type, as Ray names it."""
        resources = {f"accelerator_type:{card}": 1.0} if card else {}
        return self.cluster.add_node(num_cpus=cpus, num_gpus=gpus, resources=resources)

    def sweep(self, results: Path, *arguments: object, gate: Gate | None = None) -> Sweep:
        """A sweep of cells that compute nothing, on these nodes."""
        return self.training(results, "miniature", *arguments, gate=gate, env=dry.ENVIRONMENT)

    def training(
        self, results: Path, *arguments: object, gate: Gate | None = None, env: Mapping[str, str] | None = None
    ) -> Sweep:
        """A sweep of real cells, on these nodes."""
        if "--gpus" not in arguments:
            arguments = (*arguments, "--gpus", 0)
        return Sweep(results, *arguments, "--address", self.cluster.address, gate=gate, env=env)

    def jobs(self, gate: Gate, node: Any) -> set[str]:
        """The jobs on a node that are held at a gate."""
        processes = below(raylet(node))
        return {job for process, job in gate.held().items() if process in processes}

    def kill(self, node: Any) -> None:
        """What pulling a plug does: all of its processes are gone at once."""
        own = [info.process.pid for infos in node.all_processes.values() for info in infos]
        for process in [*(child for parent in own for child in below(parent)), *own]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        if node is not self.cluster.head_node:
            self.cluster.remove_node(node, allow_graceful=False)


def raylet(node: Any) -> int:
    return node.all_processes["raylet"][0].process.pid
