"""The next step of a claim that no scope can be asked is one on the data and model of the results folder."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from carft.config.catalog import BUILT_IN
from carft.data.family import Pool
from carft.data.folder.named import NamedTask
from carft_cli.report import in_folder
from reports.build import places_of
from reports.claims.rules import ledger
from reports.claims.verdicts import proposal
from reports.evidence.scopes import BUILT_IN_POOLS, Scope

TASK = NamedTask("animals", "v", ("clinic",), ("home",), ("cat", "dog"), ("a {}.", "a {}."))
MODEL = ("icons-resnet", "/somewhere/w.pt#sha256:" + 64 * "a")


def scope_of(*tasks: NamedTask) -> Any:
    catalog = BUILT_IN.with_tasks(tasks)
    pool = catalog.pool(tasks[0].name, catalog.pools(()))
    archive = SimpleNamespace(catalog=catalog)
    return SimpleNamespace(scope=Scope(pool, "own", *MODEL), scale="own", archive=archive)


@pytest.mark.parametrize(
    ("claim", "asks"),
    [
        ("C5", "--tasks FAMILY/NAME=PATH,FAMILY/NAME=PATH"),
        ("C9", "--tasks FAMILY/NAME=PATH,FAMILY/NAME=PATH"),
        ("C6b", "--tasks animals=PATH --leave-one-out"),
        ("C4", "--tasks animals=PATH --id-domains NAMES --ood-domains NAMES"),
        ("C11", "sweep readings --tasks animals=PATH --id-domains clinic --ood-domains home"),
    ],
)
def test_on_own_data_the_next_step_is_on_own_data_and_the_same_model(claim: str, asks: str) -> None:
    missing, command = proposal(ledger()[claim], scope_of(TASK))
    assert asks in command and command.endswith(" --model icons-resnet --pretrained FILE") and missing
    assert "icons/" not in command and "somewhere" not in command


def test_a_family_is_asked_to_be_held_out_by_the_folder_of_one_of_its_tasks() -> None:
    names = ("emoji/animals", "emoji/objects")
    family = [NamedTask(name, "v", ("a",), ("b",), ("x", "y"), ("a {}.", "a {}."), in_file=True) for name in names]
    assert "--tasks emoji/animals=PATH --leave-one-out" in proposal(ledger()["C6b"], scope_of(*family))[1]
    alone = scope_of(NamedTask("one", "v", ("a",), ("b",), ("x", "y"), ("a {}.", "a {}."), in_file=True))
    assert "sweep downstream --tasks-file FILE" in proposal(ledger()["C5"], alone)[1]


def test_on_the_built_in_world_the_model_of_the_folder_is_kept_and_claims_of_the_paper_name_its_data() -> None:
    icons: Pool = BUILT_IN_POOLS["icons/all"]
    evidence: Any = SimpleNamespace(scope=Scope(icons, "miniature", *MODEL), scale="miniature")
    nine = BUILT_IN_POOLS["icons"].command
    assert proposal(ledger()["C5"], evidence)[1] == f"{nine} --model icons-resnet --pretrained FILE"
    assert proposal(ledger()["C6"], evidence)[1] == "python cli.py sweep domainbed --data ROOT"
    nothing: Any = SimpleNamespace(scope=None, scale="miniature")
    assert proposal(ledger()["C5"], nothing)[1] == nine


def test_a_printed_command_names_the_results_folder_where_it_is_not_the_default() -> None:
    assert in_folder("python cli.py sweep readings", "results") == "python cli.py sweep readings"
    assert in_folder("python cli.py sweep readings", "my results").endswith("readings --results 'my results'")
    assert in_folder("", "elsewhere") == ""
    places = {"pets=PATH": "pets=/a", "my-pets=PATH": "my-pets=/b"}
    both = in_folder("--tasks pets=PATH,my-pets=PATH", "results", places)
    assert both == "--tasks pets=/a,my-pets=/b"


def test_a_printed_command_has_the_path_of_one_s_own_data_which_no_file_has() -> None:
    task = replace(TASK, name="zoo/animals", folder="/data/my animals")
    catalog = BUILT_IN.with_tasks([task])
    studies = [SimpleNamespace(task=name) for name in ("zoo/animals", "folder:/data/photos?id=a", "icons/all")]
    archive: Any = SimpleNamespace(studies=studies, catalog=catalog)
    command = in_folder("sweep --tasks zoo/animals=PATH,folder:PATH --leave-one-out", "results", places_of(archive))
    assert command == "sweep --tasks zoo/animals='/data/my animals',folder:/data/photos --leave-one-out"
    studies.append(SimpleNamespace(task="folder:/data/others"))
    assert "folder:PATH" not in places_of(archive)
