"""Weights are downloaded once on every node, before the cells that need them."""

from __future__ import annotations

from pathlib import Path

import pytest
import ray

from carft.core.errors import UserError
from carft.models import clip
from sweeps.ray_backend import prefetch
from sweeps.ray_backend.connect import Resources
from sweeps.recipes import load_recipe
from tests.support.nodes import Nodes

WANTED = [("ViT-B-16", "openai"), ("ViT-B-32", "openai")]


def test_only_what_is_missing_is_downloaded(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = []
    monkeypatch.setattr(prefetch, "find_weights", lambda model, weights: "https://hub" if model == "ViT-B-32" else "")
    monkeypatch.setattr(clip, "load_pretrained", lambda *start: loaded.append(start))
    assert prefetch.fetch(WANTED) == "" and loaded == [("ViT-B-32", "openai")]


def test_a_node_that_cannot_download_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(model: str, weights: str) -> str:
        raise UserError("the hub cannot be reached", "")

    monkeypatch.setattr(prefetch, "find_weights", unreachable)
    assert prefetch.fetch(WANTED) == "the hub cannot be reached"
    log: list[str] = []
    monkeypatch.setattr(prefetch, "on_every_node", lambda function, wanted: [("far", function(wanted)), ("near", "")])
    prefetch.prefetch(load_recipe("ood"), Resources(address="here:1"), log.append)
    assert log[1:] == ["far has no weights: the hub cannot be reached"]


@pytest.mark.parametrize(("recipe", "found"), [("miniature", "https://hub"), ("ood", "")])
def test_nothing_is_asked_of_ray_for_weights_that_are_here(
    monkeypatch: pytest.MonkeyPatch, recipe: str, found: str
) -> None:
    monkeypatch.setattr(prefetch, "find_weights", lambda model, weights: found)
    monkeypatch.setattr(prefetch, "on_every_node", None)
    prefetch.prefetch(load_recipe(recipe), Resources(), print)


@pytest.mark.slow
@pytest.mark.full
def test_a_function_runs_once_on_every_node_the_own_one_first(nodes: Nodes, tmp_path: Path) -> None:
    nodes.add(cpus=1)
    nodes.add(cpus=0)
    ray.init(nodes.cluster.address, log_to_driver=False, logging_level="ERROR")

    def noted(folder: str) -> str:
        node, before = ray.get_runtime_context().get_node_id(), len(list(Path(folder).iterdir()))
        (Path(folder) / node).touch()
        return f"{node} {before}"

    try:
        found = [result.split() for _, result in prefetch.on_every_node(noted, str(tmp_path))]
        own = ray.get_runtime_context().get_node_id()
    finally:
        ray.shutdown()
    assert found[0] == [own, "0"] and len({node for node, _ in found}) == len(list(tmp_path.iterdir())) == 3
    assert all(int(before) >= 1 for _, before in found[1:])
