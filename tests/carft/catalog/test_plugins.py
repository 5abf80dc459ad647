"""Methods from outside the package: files, entry points, their digest in the cell, and what is refused."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
import torch.nn.functional as F

from carft.catalog.catalog import BUILT_IN
from carft.catalog.plugins import methods_in
from carft.catalog.resolve import command, specify
from carft.config.cell import Cell
from carft.core.errors import UserError
from carft.methods.ft import FineTune
from carft.store.records import Store
from carft.store.stored_catalog import adopt_catalog, stored_catalog
from carft.training.execution import Execution
from carft.training.run import run_cell
from tests.support.helpers import ROOT, TASK, run_cli
from tests.support.packages import install_entry_points, on_path

NAME = "near"
EXAMPLE = ROOT / "examples" / "method"
VALUES = {"lr": 1e-4, "weight": 1.0}


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Path]:
    """A folder whose packages are installed for this process."""
    with on_path(tmp_path):
        yield tmp_path


@pytest.fixture
def plugin(tmp_path: Path) -> Path:
    text = (EXAMPLE / "my_method.py").read_text().replace("my_method", NAME).replace("MyMethod", "Near")
    (tmp_path / f"{NAME}.py").write_text(text)
    return tmp_path / f"{NAME}.py"


def test_a_file_adds_a_method_and_its_text_is_part_of_the_cell(plugin: Path) -> None:
    plain, catalog = specify("icons-3/mix-6", "ft", {"lr": 1e-4}), BUILT_IN.with_plugins([plugin])
    first = specify("icons-3/mix-6", NAME, VALUES, catalog=catalog)
    assert first.plugin == catalog.source_of(NAME, "icons-3/mix-6") and Cell.from_dict(first.as_dict()).id == first.id
    assert "--plugin FILE" in command(first, "again", catalog=catalog)
    same = specify("icons-3/mix-6", "ft", {"lr": 1e-4}, catalog=catalog)
    assert same.id == plain.id and "plugin" not in plain.as_dict()
    assert catalog.method(NAME).load().__name__ == "Near"
    assert catalog.of_cell(plain).plugins == ()
    sent = catalog.of_cell(first)
    del sys.modules[sent.method(NAME).implementation.partition(":")[0]]  # it is looked up, and then sent on
    worker = pickle.loads(pickle.dumps(sent))
    methods_in.cache_clear()
    assert specify("icons-3/mix-6", NAME, VALUES, catalog=worker) == first
    assert worker.method(NAME).load().__name__ == "Near"
    with pytest.raises(UserError, match="There is no method 'near'"):
        specify("icons-3/mix-6", NAME, VALUES)


def test_another_text_is_another_cell(plugin: Path) -> None:
    catalog = BUILT_IN.with_plugins([plugin])
    first = specify("icons-3/mix-6", NAME, VALUES, catalog=catalog)
    plugin.write_text(plugin.read_text() + "# changed\n")
    with pytest.raises(UserError, match="there is a method 'near' already"):
        catalog.with_plugins([plugin])
    changed = BUILT_IN.with_plugins([plugin])
    assert specify("icons-3/mix-6", NAME, VALUES, catalog=changed).id != first.id
    with pytest.raises(UserError, match="another version of the plugin of"):
        changed.require_source(NAME, first.task, first.plugin)


def test_records_bring_the_card_without_the_code(plugin: Path, store: Store) -> None:
    catalog = BUILT_IN.with_plugins([plugin])
    adopt_catalog(store, catalog, [])
    path = store.root / "methods" / f"{NAME}.json"  # of others, it may name any code
    path.write_text(json.dumps({**json.loads(path.read_text()), "implementation": "os:system"}))
    stored, given = catalog.method(NAME), stored_catalog(store, BUILT_IN)
    assert given.method(NAME) == replace(stored, implementation=given.method(NAME).implementation)
    assert given.source_of(NAME, "icons-3/mix-6") == catalog.source_of(NAME, "icons-3/mix-6")
    with pytest.raises(UserError, match="Give it: --plugin FILE"):
        given.method(NAME).load()
    assert given.with_plugins([plugin]).method(NAME).load().__name__ == "Near"


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("first_guess=1.0", "first_guess=1000.0", "near.py, line 10: The range of weight is not"),
        ("shares=FINE_TUNING", "shares={'l2': 'x'}", "It shares l2"),
        ("reads=HEAD_FACTORS", "reads=('colour',)", "There is no reading factor colour"),
        ('name="near"', 'name="Near it"', "small letters"),
        ("epoch_passes=4", "epoch_passes=-4", "The epoch passes must be greater than or equal to 0"),
        ("epoch_passes=4", "epoch_passes=4, colour=1", "unexpected keyword argument 'colour'"),
        ("    whole_batch=False,\n", "", "near.py, line 10: TypeError"),
        ("import torch\n", "import torchh\n", "near.py, line 3: ModuleNotFoundError"),
        ("@method", "@(lambda **k: lambda c: c)", "has no method"),
    ],
)
def test_a_plugin_that_cannot_be_is_refused_with_its_line(plugin: Path, old: str, new: str, says: str) -> None:
    text = plugin.read_text()
    assert old in text
    plugin.write_text(text.replace(old, new, 1))
    with pytest.raises(UserError) as refused:
        BUILT_IN.with_plugins([plugin])
    assert says in str(refused.value)


def test_an_installed_method_is_found_by_its_entry_point(plugin: Path, site: Path) -> None:
    install_entry_points(site, "other", f"[carft.methods]\n{NAME} = near:Near\n")
    cell = specify("icons-3/mix-6", NAME, VALUES)
    assert cell.plugin == BUILT_IN.source_of(NAME, "icons-3/mix-6")
    assert BUILT_IN.method(NAME).implementation == "near:Near"


def test_an_installed_task_is_found_by_its_family_and_its_source_is_part_of_the_cell(site: Path) -> None:
    entries = "[carft.data]\nzootasks = zootasks:CARDS\nzoobad = zootasks:BAD\nzoonone = zootasks:NONE\n"
    install_entry_points(site, "zoo", entries)
    (site / "zootasks.py").write_text(
        "from dataclasses import replace\n"
        "from carft.catalog.families import CARDS as KNOWN\n"
        "CARDS = [replace(KNOWN['icons-3/mix-6'], name='zootasks/tools', scale='own')]\n"
        "BAD = replace(CARDS[0], name='zoobad', templates=('no place',))\nNONE = 3\n"
    )
    cell = specify("zootasks/tools", "ft", {"lr": 1e-4})
    assert cell.plugin and cell.plugin == BUILT_IN.source_of("ft", "zootasks/tools")
    BUILT_IN.require_source("ft", "zootasks/tools", cell.plugin)
    for name, says in (("zoobad", "exactly one {}"), ("zoonone", "no card of a task"), ("zootasks/x", "no task")):
        with pytest.raises(UserError, match=says):
            specify(name, "ft", {"lr": 1e-4})


def test_the_page_shows_the_example() -> None:
    page = (ROOT / "docs" / "extending.md").read_text(encoding="utf-8")
    assert f"```py\n{(EXAMPLE / 'my_method.py').read_text()}```" in page


# commands


@pytest.mark.full
@pytest.mark.slow
def test_the_example_passes_its_test() -> None:
    asked = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", EXAMPLE / "test_my_method.py"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    tested = subprocess.run(asked, cwd=EXAMPLE, env=environment, capture_output=True, text=True, timeout=600)
    assert tested.returncode == 0, tested.stdout


#: replaces the loss of ft, without a trace in the module or the class
PATCH = """
import torch.nn.functional as F
def patched(self, batch):
    return 0.0 * batch.logits.sum(), {}
FineTune.loss.__code__ = patched.__code__
cross_entropy = F.cross_entropy
F.cross_entropy = lambda *given, **options: -cross_entropy(*given, **options)
"""


@pytest.fixture
def _unpatched(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take back what :data:`PATCH` does to this process, where commands load the plugin too."""
    monkeypatch.setattr(F, "cross_entropy", F.cross_entropy)
    monkeypatch.setattr(FineTune.loss, "__code__", FineTune.loss.__code__)


@pytest.mark.slow
@pytest.mark.full
@pytest.mark.usefixtures("few_figures", "whole_world", "_unpatched")
def test_a_sweep_runs_a_plugin_in_processes_of_its_own_and_its_report_needs_no_plugin(
    plugin: Path, tmp_path: Path
) -> None:
    plugin.write_text(plugin.read_text() + PATCH)
    results, report, clean = tmp_path / "results", tmp_path / "report", Store(tmp_path / "clean")
    methods = f"zeroshot,ft,{NAME}"
    asked = ("sweep", "miniature", "--smoke", "--tasks", TASK, "--plugin", plugin, "--methods", methods)
    asked += ("--trials", 1, "--seeds", 1)
    swept = run_cli(*asked, "--results", results, "--json")
    assert swept.returncode == 0, swept.stderr
    records = {record.cell.method: record for record in Store(results).records()}
    assert {*records} == {"zeroshot", "ft", NAME} and records[NAME].cell.plugin
    again = run_cell(records["ft"].cell, clean, Execution())
    assert again.metrics == records["ft"].metrics
    refused = run_cli("train", "--task", TASK, "--method", "ft", "--plugin", plugin, "--results", results)
    assert refused.returncode == 2 and "Leave --plugin out" in refused.stderr
    nothing_left = run_cli(*asked, "--results", results, "--json", in_process=True)
    assert json.loads(nothing_left.stdout)["cells_done"] == 0
    assert run_cli("report", "--results", results, "--out", report).returncode == 0
    compared = pd.read_csv(report / "tables" / "comparisons.csv").set_index("contrast")
    assert compared.loc["my method - FT", "effect"].notna().any()
    verified = run_cli("report", "verify", "--results", results, "--out", report)
    assert verified.returncode == 0, verified.stdout
