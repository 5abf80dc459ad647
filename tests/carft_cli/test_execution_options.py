"""Options of a command reach the worker: through one ``Execution``, none of them left out."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

from carft.config.catalog import BUILT_IN
from carft.training.execution import Execution
from carft_cli.options import DataOptions, execution_from_options
from sweeps.ray_backend.jobs import execution_of, payload
from sweeps.search.protocol import Job
from tests.support.helpers import quick_cell

#: no option sets it
FIXED = {"threads", "feature_writes", "decoders"}


def asked(tmp_path: Path, device: str) -> Execution:
    compute = {
        "accumulation": 2,
        "compile": True,
        "grad_checkpointing": True,
        "checkpoint_every": 3,
        "checkpoint_minutes": 5,
        "feature_cache": str(tmp_path),
        "feature_cache_size": 20,
        "feature_dtype": "float16",
    }
    data = DataOptions(tmp_path, skip_unreadable=True)
    return execution_from_options(compute, data, device=device, workers=4, cells_per_gpu=5)


def test_every_field_of_an_execution_has_an_option_that_sets_it(tmp_path: Path) -> None:
    found, plain = asked(tmp_path, "cuda"), Execution()
    same = {field.name for field in fields(found) if getattr(found, field.name) == getattr(plain, field.name)}
    assert same == FIXED


def test_a_job_on_one_worker_has_every_other_setting_of_the_sweep(tmp_path: Path) -> None:
    wanted = asked(tmp_path, "cpu")
    found = execution_of(payload(Job("search", quick_cell("ft", lr=0.1)), str(tmp_path), wanted, catalog=BUILT_IN))
    differing = {field.name for field in fields(found) if getattr(found, field.name) != getattr(wanted, field.name)}
    assert differing == {"workers"}


def test_confirm_cells_read_features_and_store_none(tmp_path: Path) -> None:
    wanted, cell = asked(tmp_path, "cpu"), quick_cell("ft", lr=0.1)
    found = execution_of(payload(Job("confirm", cell), str(tmp_path), wanted, catalog=BUILT_IN))
    assert wanted.feature_writes and not found.feature_writes and found.cache == wanted.cache
