"""Every command on every kind of task, for people and as JSON, in miniature.

One small sweep per kind of task, then all other commands on what it left. They run in this process, with the 80 columns
of a terminal, through ``cli.main``, and sweeps without Ray. What each command means is tested elsewhere. Here it ends
well, shows neither an error nor a value that is no value, cuts nothing off, and names the tasks.
"""

from __future__ import annotations

import json
import re
import shlex
import subprocess
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from carft.catalog.catalog import BUILT_IN, Catalog
from carft.catalog.families import CARDS
from carft.data.folder.named import tasks_in
from carft.store.records import Store
from tests.support.folder import draw_pets, write_tasks
from tests.support.helpers import run_cli
from tests.support.serial import without_ray

pytestmark = [pytest.mark.slow, pytest.mark.full]
Said = subprocess.CompletedProcess[str]
RESNET = ("--model", "icons-resnet", "--pretrained", "icons-3")


@dataclass(frozen=True)
class Kind:
    """A kind of task: how it is swept. sets: what is drawn as a fixture below --data; own: entries of a tasks file."""

    recipe: str = "downstream"
    options: Sequence[str] = ()
    sets: Sequence[str] = ()
    own: Sequence[dict[str, object]] = ()


SETS = ("cifar10", "dtd", "pets")
#: one seed in most: without an interval a table has the most to leave out
KINDS = {
    "icon tasks": Kind(options=("--tasks", "icons-3/mix-7,icons-3/mix-9", "--seeds", "2")),
    "folders": Kind(
        own=({"name": "my/scans", "path": "pets"}, {"name": "my/photos", "path": "pets", "id_domains": ["scan"]}),
        options=("--seeds", "2"),
    ),
    # three layouts; the others are in carft/data/test_downstream.py
    "downstream": Kind(options=("--tasks", ",".join(SETS)), sets=SETS),
    "imagenet": Kind("ood", ("--methods", "zeroshot,ft,car_ft"), BUILT_IN.card("imagenet").data_sets),
    # one whole family: the other four have the same layout (carft/data/test_downstream.py)
    "domainbed": Kind("domainbed", ("--tasks", "pacs/*"), ("pacs",)),
}


@dataclass
class World:
    """A kind of task with its sweep. planned, swept: what both commands said, as JSON or to people.

    data: options that say where images are. sets: what `data check` looks at.
    """

    root: Path
    catalog: Catalog
    tasks: Sequence[str]
    data: Sequence[str]
    sets: Sequence[str]
    sweep: Sequence[str]
    planned: dict[bool, Said] = field(default_factory=dict)
    swept: dict[bool, Said] = field(default_factory=dict)

    @property
    def results(self) -> str:
        return str(self.root / "results")

    @property
    def there(self) -> Sequence[str]:
        """The option that names the results folder."""
        return ("--results", self.results)

    def cell(self, method: str) -> str:
        """Id of a cell of the sweep."""
        return next(r.id for r in Store(self.results).records() if r.cell.method == method)


def call(*arguments: object) -> Said:
    """A command in this process, on a terminal of 80 columns."""
    return run_cli(*arguments, in_process=True, columns=80)


def both(*arguments: object) -> dict[bool, Said]:
    """The same command for people, then as JSON."""
    return {False: call(*arguments), True: call(*arguments, "--json")}


@pytest.fixture(scope="module", params=KINDS)
def world(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """The sweep of one kind of task, planned before."""
    root = tmp_path_factory.mktemp("matrix") / "my [old] data"  # what a shell and rich could take for more than a name
    root.mkdir()
    kind = KINDS[request.param]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("reports.render.figures.figure.DPI", 20)
        made = prepared(root, kind)
        for task in made.tasks if kind.sets else ():  # 2 of 80 prompts: the layout is wanted, not the text
            family, card = BUILT_IN.opener(task)
            few = {"templates": card.templates[:2], "banks": {"standard": card.bank("standard")[:2]}}
            patch.setitem(family.cards, task, replace(card, **few))
        made.planned = both("plan", *made.sweep, "--results", made.results)
        with without_ray():
            made.swept = both("sweep", *made.sweep, "--results", made.results)
        yield made


def prepared(root: Path, kind: Kind) -> World:
    """The data of a kind of task, and the options of its sweep."""
    for name in kind.sets:
        for data_set in BUILT_IN.data_sets(name):
            data_set.fixture(root / "data")
    data, catalog, tasks = ("--data", str(root / "data")), BUILT_IN, tasks_of(kind)
    if kind.own:
        draw_pets(root)
        data = ("--tasks-file", str(write_tasks(root, *kind.own)))
        catalog = BUILT_IN.with_tasks(named := tasks_in(Path(data[1])))
        tasks = [task.name for task in named]
    data = data if kind.sets or kind.own else ()
    sweep = (kind.recipe, "--smoke", "--seeds", "1", *kind.options, *data, *RESNET)
    sets = [*kind.sets, *(tasks if kind.own else ())]
    return World(root, catalog, tasks, data, sets, (*sweep, "--feature-cache", str(root / "cache")))


def tasks_of(kind: Kind) -> list[str]:
    """Names of the tasks of this package that the sweep is to run."""
    if kind.own:
        return []
    if kind.recipe == "domainbed":
        return [name for name in CARDS if name.startswith("pacs/")]
    if kind.recipe == "ood":
        return ["imagenet"]
    return kind.options[kind.options.index("--tasks") + 1].split(",")


def assert_good(said: Said, as_json: bool) -> Any:
    """Exit code, no error shown, JSON that parses, or text that fits and has no value that is none."""
    assert said.returncode == 0, said.stdout + said.stderr
    assert "Traceback" not in said.stdout + said.stderr
    if as_json:
        return json.loads(said.stdout, parse_constant=lambda word: pytest.fail(f"{word} in JSON"))
    assert said.stdout.strip()
    assert not re.search(r"\b(nan|None|NaN|inf)\b", said.stdout), said.stdout
    assert "…" not in said.stdout, said.stdout  # rich cuts off what does not fit
    return said.stdout


def proposed(text: str) -> list[list[str]]:
    """The commands that a text tells people to type, as a shell reads them."""
    lines = [line for line in text.splitlines() if "python cli.py " in line]
    return [shlex.split(line[line.index("python cli.py ") :])[2:] for line in lines]


human_and_json = pytest.mark.parametrize("as_json", [False, True], ids=["human", "json"])


@human_and_json
def test_plan(world: World, as_json: bool) -> None:
    found = assert_good(world.planned[as_json], as_json)
    if as_json:
        assert [row["task"] for row in found["tasks"]] == list(world.tasks)
        assert found["obstacles"] == []
        assert found["cells"] > 0
    else:
        assert proposed(found)[-1] == ["sweep", *world.sweep, "--results", world.results]


@human_and_json
def test_sweep(world: World, as_json: bool) -> None:
    found = assert_good(world.swept[as_json], as_json)
    finished = len(list(Store(world.results).records()))
    if as_json:
        assert (found["cells_done"], found["cells_failed"], found["cells_reused"]) == (0, 0, finished)
        return
    assert f"{finished} cells done, 0 found done, 0 failed" in found
    assert proposed(found)[-1][:3] == ["report", "--results", world.results]


def test_confirm_cells_are_opened_on_every_set_and_say_that_their_data_are_a_fixture(world: World) -> None:
    store = Store(world.results)
    for study in store.studies():
        for cell in study.confirm:
            assert store.evaluated(cell) == set(world.catalog.card(study.task).sets)
            assert not has_fixtures(world) or store.read(cell).provenance["digests"]["attested"].startswith("no: ")


#: what reads what a sweep left, and changes nothing there that another command reads
READING: dict[str, Callable[[World], Sequence[object]]] = {
    "status": lambda w: ("status", "--all", *w.there),
    "ls cells": lambda w: ("ls", "cells", *w.there),
    "ls studies": lambda w: ("ls", "studies", *w.there),
    "one cell": lambda w: ("ls", "cells", w.cell("car_ft"), *w.there),
    "results gc": lambda w: ("results", "gc", *w.there),
    "plan again": lambda w: ("plan", *w.sweep, *w.there),
    "report": lambda w: ("report", "--out", w.root / "report", *w.there),
    "report verify": lambda w: ("report", "verify", "--out", w.root / "report", *w.there),
    "a claim": lambda w: ("report", "why", "C4", *w.there),
    "a number": lambda w: ("report", "why", f"tasks.{w.tasks[0]}/car_ft.ood/mean", *w.there),
}
#: those that tell of every task of the sweep; for people, a narrow table breaks long names into several lines
OF_TASKS = ("status", "ls cells", "ls studies", "plan again")


@human_and_json
@pytest.mark.parametrize("name", READING)
def test_reading(world: World, name: str, as_json: bool) -> None:
    said = call(*READING[name](world), *(["--json"] if as_json else []))
    found = assert_good(said, as_json)
    if name in OF_TASKS and as_json:
        assert all(json.dumps(task) in said.stdout for task in world.tasks)
    if name == "plan again" and not as_json:
        assert "Next: python cli.py report --results" in said.stdout
    if name == "report":
        assert set(pd.read_csv(world.root / "report" / "tables" / "tasks.csv")["task"]) == set(world.tasks)
        page = (world.root / "report" / "index.html").read_text(encoding="utf-8")
        assert not has_fixtures(world) or "fixture" in page
    if name == "report verify":
        assert found["holds"] if as_json else "Every table holds." in found


@human_and_json
def test_data(world: World, as_json: bool) -> None:
    options = [*world.data, *(["--json"] if as_json else [])]
    for name in world.sets:
        checked = assert_good(call("data", "check", name, *options), as_json)
        if as_json:
            assert {row["status"] for row in checked} == {"fixture" if has_fixtures(world) else "unknown"}


@human_and_json
def test_results(world: World, as_json: bool) -> None:
    archive, theirs, merged = (world.root / f"{name}-{as_json}" for name in ("all.zip", "theirs", "merged"))
    options = ["--json"] if as_json else []
    finished = len(list(Store(world.results).records()))
    for words in (("export", archive, "--results", world.results), ("import", archive, "--to", theirs)):
        found = assert_good(call("results", *words, *options), as_json)
        assert (found["cells"] == finished) if as_json else (f"cells: {finished}\n" in found)
    found = assert_good(call("results", "import", world.results, theirs, "--to", merged, *options), as_json)
    assert not as_json or (found["shared"], found["corrupt"]) == (finished, {})


def test_cells(world: World) -> None:
    """Two cells on one task of the kind, then what is made of trained cells."""
    results = ("--results", world.root / "trained")
    place = (*results, *world.data) if has_fixtures(world) else results  # a results folder knows where own data lie
    task, cache = world.tasks[-1], ("--feature-cache", world.root / "cache")
    train = ("train", "--task", task, "--method", "ft", "--epochs", "1", *RESNET, "--unseal", "--keep-weights", *cache)
    asked: list[Sequence[object]] = [(*train, *world.data, *results, "--lr", lr) for lr in ("1e-4", "3e-4")]
    made = [assert_good(call(*words, "--json"), True) for words in asked]
    ids = [record.id for record in Store(world.root / "trained").records()]
    made.append(assert_good(call("combine", "wise_ft", "--cells", ids[0], *place, "--json"), True))
    made.append(assert_good(call("combine", "soup", "--cells", ",".join(ids), *place, "--json"), True))
    export = ("model", "export", ids[0], "--to", world.root / "model")
    exported = assert_good(call(*export, *place, "--json"), True)
    assert all(Path(path).is_file() for path in exported)
    kind = world.catalog.card(task)
    for found in made:
        for row in found if isinstance(found, list) else [found]:
            assert ("test/top1" in row["metrics"]) == ("test" in kind.sets)
            assert ("ood/mean/top1" in row["metrics"]) == bool(kind.suites)


def has_fixtures(world: World) -> bool:
    """Whether the images are fixtures of the real sets."""
    return "--data" in world.data
