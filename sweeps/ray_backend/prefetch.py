"""Weights are downloaded once on every node before the actors of a sweep start."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from carft.core.errors import UserError
from carft.data.icons.world import BUILT_IN_WEIGHTS
from carft.models.availability import find_weights
from sweeps.ray_backend.connect import Resources, own_node
from sweeps.ray_backend.preflight import starts
from sweeps.recipes import Recipe


def prefetch(recipe: Recipe, request: Resources, log: Callable[[str], None]) -> None:
    """Have every node that lacks the weights of a recipe download them, once. Ray must be connected.

    Otherwise all actors of a node would download at the same time. A node that cannot is logged; its cells say why.
    """
    wanted = [start for start in starts(recipe) if start not in BUILT_IN_WEIGHTS]
    if not wanted or (request.address is None and not any(find_weights(*start) for start in wanted)):
        return
    log("Weights are looked up on every node, and downloaded where they are missing.")
    for host, problem in on_every_node(fetch, wanted):
        if problem:
            log(f"{host} has no weights: {problem}")


def fetch(wanted: Sequence[tuple[str, str]]) -> str:
    """Download each (model, weights) that this machine lacks, with what it needs beside; returns why that failed."""
    for model, pretrained in wanted:
        try:
            if find_weights(model, pretrained):
                from carft.models.clip import load_pretrained

                load_pretrained(model, pretrained)
        except UserError as error:
            return error.message
    return ""


def on_every_node(function: Callable[..., Any], *arguments: object) -> list[tuple[str, Any]]:
    """(host, result) of a function on every node that is alive.

    On this node first, then on the others at once: where nodes share the folder of weights, these find them there.
    """
    alive = [node for node in ray.nodes() if node["Alive"]]
    first = [node for node in alive if node["NodeID"] == own_node()]
    others = [node for node in alive if node not in first]
    task = ray.remote(num_cpus=0, max_retries=0)(function)
    found: list[tuple[str, Any]] = []
    for nodes in (first, others):
        places = [NodeAffinitySchedulingStrategy(node["NodeID"], soft=False) for node in nodes]
        running = [task.options(scheduling_strategy=place).remote(*arguments) for place in places]
        found += zip((node["NodeManagerHostname"] for node in nodes), map(_result, running), strict=True)
    return found


def _result(running: Any) -> Any:
    try:
        return ray.get(running)
    except ray.exceptions.RayError as error:  # the node died, or the function raised
        return str(error).splitlines()[0]
