"""A family of one's own: six named folders of three domains, swept once; what the report, archive and commands say."""

from __future__ import annotations

import json
import shutil
import zipfile
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest
from PIL import Image

from carft.catalog.catalog import BUILT_IN
from carft.data.folder.images import SPLITS, split_of
from carft.data.folder.named import NamedTask
from carft.data.sets import picture
from carft.store.records import Store
from carft.store.stored_catalog import named_tasks
from reports.judge.claims.ledger import ledger
from reports.pipeline import build_report
from reports.render.pictures import picture_name, shown_images
from tests.support.folder import keep_tasks, write_tasks
from tests.support.helpers import run_cli
from tests.support.reading import evidence_in
from tests.support.serial import run_serially

TASKS = ("animals-and-nature", "objects-of-everyday-life", "people", "places", "food", "signs-and-symbols-of-all-kinds")
DOMAINS = ("apple", "google", "openmoji")
#: of which the path of no folder may be found in anything that is published
SECRET = "home-of-somebody"


def draw(root: Path) -> None:
    """Six folders of three domains and three classes, three stems a split."""
    for k, task in enumerate(TASKS):
        for label, kind in enumerate(("first", "second", "third")):
            numbered = [f"{kind}-{n}" for n in range(60)]
            stems = [stem for split in SPLITS for stem in [s for s in numbered if split_of(s) == split][:3]]
            for d, domain in enumerate(DOMAINS):
                (root / task / domain / kind).mkdir(parents=True)
                for n, stem in enumerate(stems):
                    picture(label + 3 * k, d, n).save(root / task / domain / kind / f"{stem}.png")


def swept(root: Path, results: Path) -> Any:
    """The sweep of the family; a second one finds everything done."""
    domains = {"id_domains": ["apple", "google"], "ood_domains": ["openmoji"]}
    file = write_tasks(root, *({"name": f"emoji/{task}", "path": task, **domains} for task in TASKS))
    model = ("--model", "icons-resnet", "--pretrained", "icons-3", "--methods", "zeroshot,ft,car_ft")
    space = ("--space", "lr=1e-5:1e-2")
    asked = ("sweep", "downstream", "--smoke", "--trials", "1", "--tasks-file", file, *model, *space)
    done = run_serially(*asked, "--results", results, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """Data, results and report of the family. Do not change them."""
    root = tmp_path_factory.mktemp(SECRET)
    draw(root)
    results, report = root.parent / f"results-{root.name[-1]}", root.parent / f"report-{root.name[-1]}"
    swept(root, results)
    built = run_cli("report", "--results", results, "--out", report, "--json")
    assert built.returncode == 0, built.stderr
    return SimpleNamespace(root=root, results=results, report=report, verdicts=json.loads(built.stdout)["verdicts"])


pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("few_figures")]


def test_a_family_has_one_verdict_a_claim(own: SimpleNamespace) -> None:
    claims = [verdict["claim"] for verdict in own.verdicts]
    assert claims == list(ledger())
    found = {verdict["claim"]: verdict for verdict in own.verdicts}
    assert {found[claim]["scope"] for claim in ("C1", "C2", "C3", "C4", "C5", "C9")} == {"emoji"}
    assert found["C3"]["n_tasks"] == found["C9"]["n_tasks"] == 6
    pooled = next(part for part in found["C3"]["parts"] if part["decides"])
    assert [below["task"] for below in pooled["tasks"]] == sorted(f"emoji/{task}" for task in TASKS)
    assert pooled["effect"] == pytest.approx(sum(below["effect"] for below in pooled["tasks"]) / 6)
    assert [len(part["tasks"]) for part in found["C5"]["parts"] if part["decides"]] == [1] * 6
    parts = pd.read_csv(own.report / "tables" / "verdicts.csv")
    deciding = parts[(parts["claim"] == "C5") & parts["deciding"]]
    assert set(deciding["part"]) == {f"CAR-FT - FT, emoji/{task}" for task in TASKS}


def test_the_report_names_tasks_and_no_folder_shows_pictures_and_every_number_has_an_address(
    own: SimpleNamespace,
) -> None:
    assert set(pd.read_csv(own.report / "tables" / "tasks.csv")["task"]) == {f"emoji/{task}" for task in TASKS}
    page = (own.report / "index.html").read_text(encoding="utf-8")
    assert "CAR-FT beats fine-tuning on every downstream task." in page
    published = [p for p in own.report.rglob("*") if p.is_file()]
    assert [p.name for p in published if SECRET.encode() in p.read_bytes()] == []
    files = sorted((own.report / "pictures").glob("*.jpg"))
    assert page.count('src="data:image/jpeg') == len(files) >= 3
    for path in files:
        with Image.open(path) as image:
            assert max(image.size) <= 96
    checked = run_cli("report", "verify", "--results", own.results, "--out", own.report)
    assert checked.returncode == 0, checked.stdout
    told = run_cli("report", "why", "tasks.emoji/food/ft.test_top1", "--cells", "--results", own.results)
    assert told.returncode == 0 and "--task emoji/food" in told.stdout
    told = run_cli("report", "why", "C5", "--results", own.results)
    assert "on every downstream task" in told.stdout


def test_private_images_and_all_images_can_be_left_out(own: SimpleNamespace, tmp_path: Path) -> None:
    whole = {path.name for path in (own.report / "pictures").iterdir()}
    made = ("report", "--results", own.results, "--out", tmp_path)
    said = run_cli(*made, "--private", "emoji/people,*/openmoji/*")
    assert said.returncode == 0, said.stderr
    images = pd.concat(shown_images(evidence_in(Store(own.results))))
    hidden = images[(images["task"] == "emoji/people") | images["image"].str.startswith("openmoji/")]
    names = {f"{picture_name(row)}.jpg" for row in hidden.to_dict("records")}
    kept = {path.name for path in (tmp_path / "pictures").iterdir()}
    assert names and kept == whole - names
    assert f"{len(names)} private images have no picture." in " ".join(said.stdout.split())
    assert run_cli("report", "verify", "--results", own.results, "--out", tmp_path).returncode == 0
    assert run_cli(*made, "--no-images").returncode == 0
    assert not list(tmp_path.rglob("*.jpg"))
    assert "data:image/jpeg" not in (tmp_path / "index.html").read_text(encoding="utf-8")


def test_a_task_that_its_file_calls_private_has_no_picture(own: SimpleNamespace, tmp_path: Path) -> None:
    images = pd.concat(shown_images(evidence_in(Store(own.results))))
    secret = images["task"].iloc[0]
    store = Store(shutil.copytree(own.results, tmp_path / "results"))
    keep_tasks(store, [replace(task, private=task.name == secret) for task in named_tasks(store)])
    built = build_report(store, tmp_path / "report")
    hidden = {picture_name(row) for row in images.to_dict("records") if row["task"] == secret}
    before, after = (
        {path.stem for path in (folder / "pictures").glob("*.jpg")} for folder in (own.report, tmp_path / "report")
    )
    assert hidden and after == before - hidden
    assert built.missing_pictures == [f"{len(hidden)} private images have no picture."]


def test_the_search_range_is_on_record_and_the_same_command_finds_everything_done(own: SimpleNamespace) -> None:
    ranges = {(study.method, tuple(study.space["lr"])) for study in Store(own.results).studies()}
    assert ranges == {("ft", (1e-5, 1e-2, 3e-5)), ("car_ft", (1e-5, 1e-2, 3e-5))}
    again = swept(own.root, own.results)
    assert again["cells_done"] == 0 and again["cells_reused"] > 0


def test_an_archive_holds_everything_but_the_place(own: SimpleNamespace, tmp_path: Path) -> None:
    archive = tmp_path / "a.zip"
    packed = run_cli("results", "export", archive, "--results", own.results)
    assert packed.returncode == 0, packed.stderr
    assert "hold the path" not in packed.stderr
    with zipfile.ZipFile(archive) as stream:
        assert [name for name in stream.namelist() if SECRET.encode() in stream.read(name)] == []
    pages = (path for path in own.report.rglob("*") if path.is_file())
    assert [path for path in pages if SECRET.encode() in path.read_bytes()] == []
    assert run_cli("results", "import", archive, "--to", tmp_path / "theirs").returncode == 0
    checked = run_cli("report", "verify", "--results", tmp_path / "theirs", "--out", own.report)
    assert checked.returncode == 0, checked.stdout
    theirs = run_cli("report", "--results", tmp_path / "theirs", "--out", tmp_path / "report", "--json")
    assert [v["verdict"] for v in json.loads(theirs.stdout)["verdicts"]] == [v["verdict"] for v in own.verdicts]
    cell = trained(Store(tmp_path / "theirs"))
    refused = run_cli("combine", "wise_ft", "--cells", cell, "--results", tmp_path / "theirs")
    assert refused.returncode == 2


def trained(store: Store, task: str = "emoji/food") -> str:
    """A confirm cell of CAR-FT."""
    return next(s.confirm[0] for s in store.studies() if (s.task, s.method) == (task, "car_ft"))


def named(name: str, held_out: bool = False) -> NamedTask:
    return NamedTask(name, "v", ("a",), ("b",), ("c", "d"), ("{}", "{}"), held_out)


def test_two_families_are_never_pooled() -> None:
    tasks = [named("emoji/a"), named("emoji/b"), named("zoo/a"), named("zoo/b"), named("zoo/c", held_out=True)]
    tasks += [named("zoo/d", held_out=True), named("alone"), named("only/one")]
    pools = BUILT_IN.with_tasks(tasks).own.pools(())
    pooled = {pool.name: (pool.kind, len(pool.tasks)) for pool in pools}
    assert pooled == {
        "emoji": ("several", 2),
        "zoo": ("several", 2),
        "zoo, one domain left out": ("domainbed", 2),
        "alone": ("single", 1),
        "only/one": ("single", 1),
    }
