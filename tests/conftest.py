"""The order of tests, and what all processes of a run share. Fixtures are in ``tests/support/fixtures.py``."""

from __future__ import annotations

import gc
import os
import shutil
import signal
import tempfile
from pathlib import Path

import psutil
import pytest

#: paths of tests that take longest, the longest first
LONGEST = (
    "tests/sweeps/faults/test_faults.py",
    "tests/carft_cli/test_matrix.py",
    "tests/reports/render/test_published_page.py",
    "tests/sweeps/faults/test_failing_cells.py",
    "tests/sweeps/ray_backend/test_sweep.py",
    "tests/carft/catalog/test_plugins.py",
    "tests/reports/judge/claims/test_verdicts.py",
    "tests/carft/methods",
    "tests/reports/judge/claims/test_claims.py",
    "tests/carft/training/test_simulated_card.py",
    "tests/sweeps/ray_backend/test_workers.py",
    "tests/carft/data/test_input.py",
    "tests/carft/training/test_checkpoints.py",
    "tests/sweeps/plan/test_measure.py",
    "tests/project/test_deploy.py",
    "tests/reports/test_own_families.py",
    "tests/reports/test_report.py",
    "tests/carft_cli",
    "tests/sweeps",
    "tests/carft/training",
    "tests/reports",
)
# nodes and workers that a test starts import tests.support too
os.environ["PYTHONPATH"] = str(Path(__file__).resolve().parents[1])
# processes of tests share the cores: one thread each, as cells have
os.environ["OMP_NUM_THREADS"] = "1"
# by default Ray's workers yield to all others: beside a second process of tests a sweep takes five times as long
os.environ |= {"RAY_worker_niceness": "0"}
#: a file system in memory makes a small file fifty times faster than a disk, and a run makes tens of thousands
MEMORY = Path("/dev/shm")
#: bytes that must be free in it and in the machine; a run takes less than half
ROOM = 8e9


def _is_roomy(folder: Path) -> bool:
    if not os.access(folder, os.W_OK):
        return False
    return min(shutil.disk_usage(folder).free, psutil.virtual_memory().available) > ROOM


#: what all processes of the run share: indexes of data that cannot lie beside them, planted and finished records
_SHARED = None
if "PYTEST_XDIST_WORKER" not in os.environ:
    if _is_roomy(MEMORY):
        os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(MEMORY))
    _SHARED = tempfile.TemporaryDirectory(prefix="carft-tests-", dir=os.environ.get("PYTEST_DEBUG_TEMPROOT"))
    os.environ["CARFT_INDEXES"] = os.environ["CARFT_PLANTED"] = _SHARED.name

gc.disable()  # until all tests are imported

#: a shell's background jobs ignore it, and so would the sweeps that tests start
signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_configure(config: pytest.Config) -> None:
    """Load the fixtures where tests run: the process that hands tests to others needs neither torch nor Ray."""
    if "PYTEST_XDIST_WORKER" in os.environ or config.getoption("dist", "no") == "no":
        config.pluginmanager.import_plugin("tests.support.fixtures")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run the longest files first, so that no process of tests is left with one of them at the end."""
    items.sort(key=_place)
    gc.freeze()  # what was imported is not looked at again
    gc.enable()


def _place(item: pytest.Item) -> int:
    """Where a test stands in :data:`LONGEST`."""
    for place, path in enumerate(LONGEST):
        if item.nodeid.startswith(path):
            return place
    return len(LONGEST)


def pytest_unconfigure() -> None:
    """Remove what the whole run shared: a process of xdist ends without what Python does at its end."""
    if _SHARED is not None:
        _SHARED.cleanup()
