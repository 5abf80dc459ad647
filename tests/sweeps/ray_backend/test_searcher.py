"""What the searcher of a sweep asks of Ray."""

from __future__ import annotations

from unittest.mock import patch

import pytest

from carft.store.records import Store
from sweeps.faults.process import StopSignal
from sweeps.faults.storage import StorageRetry
from sweeps.plan.resources import Resources
from sweeps.ray_backend.gpus import GpuHealth
from sweeps.ray_backend.searcher import ProtocolSearcher
from sweeps.recipes.loading import load_recipe
from sweeps.search.protocol import Protocol


def test_ray_is_not_asked_for_its_nodes_before_each_job(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """But at once when a GPU was set aside."""
    asked = list[str]()

    def nodes() -> list[dict[str, object]]:
        asked.append("nodes")
        return [{"Alive": True, "Resources": {"CPU": 8.0, "GPU": 2.0}}]

    monkeypatch.setattr("sweeps.ray_backend.searcher.LOOK_S", 1e9)
    protocol = Protocol(load_recipe("miniature").changed(["icons-3/mix-7"], ["ft"], 16), store)
    gpus = GpuHealth({})
    retry = StorageRetry(store, print)
    with patch("ray.nodes", nodes):
        searcher = ProtocolSearcher(protocol, Resources(gpus=2), retry, lambda: None, gpus, StopSignal())
        suggested = [searcher.suggest(str(number)) for number in range(6)]
        assert sum(config is not None for config in suggested) == searcher.slots() == 2
        assert len(asked) == 1
        first = suggested[0]
        cell = first["job"].job.cell
        shown = {"kind": "search", "task": "icons-3/mix-7", "method": "ft", "seed": cell.seed}
        assert (
            first == {**cell.hyperparameters, **shown, "job": first["job"]} and str(first["job"]) == f"search-{cell.id}"
        )
        gpus.aside["node/0"] = "broken"
        assert searcher.slots() == 1 and len(asked) == 2
