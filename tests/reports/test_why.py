"""`report why`: from a number to its formula, its cells and their commands; names that are nearly right."""

from __future__ import annotations

import json
import shlex
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest

from carft.catalog.resolve import specify
from carft.config.cell import Training
from carft.core.errors import UserError
from carft.store.records import Store
from reports.judge.claims.ledger import ledger
from reports.judge.findings import Findings
from reports.render.tables.table import table_cards
from reports.why import explain
from tests.support.helpers import TASK, run_cli
from tests.support.planted import QUICK, plant
from tests.support.reading import judged_of, table_of

pytestmark = pytest.mark.usefixtures("few_figures")

DECIDED = ("C1", "C2", "C3", "C4", "C4b", "C12")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    made = Store(tmp_path_factory.mktemp("why"))
    plant(made, [TASK, "icons-3/mix-6"], QUICK, curves=True)
    return made


@pytest.fixture(scope="module")
def sources(store: Store) -> Findings:
    """The tables and verdicts on that folder."""
    return judged_of(store)


@pytest.fixture
def once(sources: Findings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every number of that folder is asked of the same tables."""
    monkeypatch.setattr("reports.why.findings_of", lambda results: sources)


def test_a_mean_is_that_of_its_cells(store: Store) -> None:
    chain = explain(store, f"tasks.{TASK}/car_ft.test_top1")
    shown = [row["test/top1"] for row in chain.cells]
    given = [np.mean(p.predicted == p.labels) for p in (store.predictions(c["cell"], "test") for c in chain.cells)]
    assert shown == pytest.approx(given)
    assert float(dict(chain.facts)["value"]) == pytest.approx(np.mean(given))


@pytest.mark.parametrize(("task", "column"), [("cifar10", "ood/mean"), ("pacs/sketch", "test_top1")])
def test_a_number_that_a_task_does_not_have_is_a_dash(task: str, column: str, tmp_path: Path) -> None:
    plant(Store(tmp_path), [task], QUICK)
    chain = explain(Store(tmp_path), f"tasks.{task}/car_ft.{column}")
    facts = dict(chain.facts)
    assert (facts["value"], facts["computed"].partition(":")[0]) == ("-", "nothing")
    assert chain.tables == {}
    assert len(chain.cells) == len(QUICK.seeds)


def test_a_claim_on_one_seed_has_no_interval_and_no_nan(tmp_path: Path) -> None:
    plant(Store(tmp_path), [TASK], replace(QUICK, seeds=(1,)))
    chain = explain(Store(tmp_path), "C3")
    assert json.loads(json.dumps(asdict(chain), allow_nan=False))["address"] == "C3"
    assert dict(chain.facts)["computed"].endswith("needs two seeds and two groups")


def test_a_claim_has_the_variance_of_its_interval_and_every_cell_the_command_that_makes_it(
    store: Store, sources: Findings
) -> None:
    chain = explain(store, "C3")
    verdict = next(v for v in sources.verdicts if v.claim == "C3")
    variance = sum(row["variance"] for row in chain.tables[f"Variance of {verdict.number.part}, in points squared"])
    assert verdict.parts[0].estimate.se == pytest.approx(np.sqrt(variance) / 100)
    for cell in chain.cells:
        words = shlex.split(cell["command"])
        options = dict(zip(words[3::2], words[4::2], strict=False))
        tuned = {"lr": float(options["--lr"])}
        if "--kl-weight" in options:
            tuned["kl_weight"] = float(options["--kl-weight"])
        training = Training(epochs=int(options["--epochs"]))
        made = specify(options["--task"], options["--method"], tuned, int(options["--seed"]), training)
        assert made.id == cell["cell"]


@pytest.mark.usefixtures("once")
@pytest.mark.parametrize("claim", list(ledger()))
def test_every_claim_can_be_asked(store: Store, claim: str) -> None:
    chain = explain(store, claim)
    facts = dict(chain.facts)
    assert facts["rule"] == ledger()[claim].rule
    assert facts["verdict"]
    if claim in DECIDED:
        assert "x" in facts["computed"] and chain.cells
    else:
        assert facts.get("run") or facts["number"]


@pytest.mark.usefixtures("once")
def test_every_number_of_every_table_has_an_address(store: Store, sources: Findings) -> None:
    for name, card in table_cards().items():
        table = table_of(sources, name)
        rows = table.to_dict("records")
        keys = [card.key(row) for row in rows]
        assert len(set(keys)) == len(keys), name
        for row in rows[:1]:
            column = table.columns[-1]
            chain = explain(store, f"{name}.{card.key(row)}.{column}")
            assert dict(chain.facts)["row"]


@pytest.mark.usefixtures("once")
@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("C33", "Did you mean C3"),
        ("taks.a.b", "Did you mean tasks"),
        (f"tasks.{TASK}/car-ft.test_top1", f"Did you mean {TASK}/car_ft"),
        (f"tasks.{TASK}/car_ft.test_top", "Did you mean test_top1"),
        (f"tasks.{TASK}/car_ft", "which column"),
        ("C3@elsewhere", "no scope of C3"),
    ],
)
def test_names_that_are_not_there_are_refused_with_near_misses(store: Store, address: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        explain(store, address)


def test_the_command_prints_the_chain_as_json_and_the_cells_on_request(store: Store) -> None:
    asked = ("report", "why", "C3", "--results", store.root)
    printed = json.loads(run_cli(*asked, "--json").stdout)
    assert {"address", "facts", "tables", "cells"} == set(printed)
    assert printed["cells"][0]["command"].startswith("python cli.py")
    short, listed = run_cli(*asked).stdout, run_cli(*asked, "--cells").stdout
    cells = [row["cell"] for row in explain(store, "C3").cells]
    assert len(cells) == 8 and "8 cells; --cells lists each" in short and not any(cell in short for cell in cells)
    assert all(listed.count(cell) == 1 for cell in cells) and listed.count("python cli.py train") == 8
    assert run_cli("report", "--results", store.root, "why", "C3").stdout == short
