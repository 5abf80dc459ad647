"""DomainBed's data sets: facts, layouts, leave-one-domain-out tasks, and a cell that is trained and unsealed."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from carft.catalog.catalog import BUILT_IN
from carft.core.errors import UserError
from carft.data.checking import check
from carft.data.domainbed.family import CARDS, CLASSES, DATA_SETS
from carft.data.sets import picture
from tests.support.folder import Folder, compared_pictures

pytestmark = pytest.mark.usefixtures("few_figures")

#: few classes, so that their fixtures can be written for every test
SMALL = ("pacs", "vlcs", "terraincognita")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data root with fixtures of the small sets. Do not change it."""
    place = tmp_path_factory.mktemp("data")
    for name in SMALL:
        DATA_SETS[name].fixture(place)
    return place


@pytest.fixture
def pacs(tmp_path: Path) -> Path:
    DATA_SETS["pacs"].fixture(tmp_path)
    return tmp_path


def test_counts_and_classes_are_those_of_the_domainbed_paper() -> None:
    assert {name: sum(data_set.counts.values()) for name, data_set in DATA_SETS.items()} == {
        "pacs": 9_991,
        "vlcs": 10_729,
        "officehome": 15_588,
        "terraincognita": 24_788,
        "domainnet": 586_575,
    }
    assert {name: (len(data_set.classes), len(data_set.counts)) for name, data_set in DATA_SETS.items()} == {
        "pacs": (7, 4),
        "vlcs": (5, 4),
        "officehome": (65, 4),
        "terraincognita": (10, 4),
        "domainnet": (345, 6),
    }
    for name, folders in CLASSES.items():
        assert list(folders) == sorted(folders), name
        assert len({word.casefold() for word in folders.values()}) == len(folders)


def test_every_domain_is_left_out_once() -> None:
    assert list(CARDS)[:4] == ["pacs/art-painting", "pacs/cartoon", "pacs/photo", "pacs/sketch"]
    assert list(CARDS) == [f"{name}/{domain}" for name, data_set in DATA_SETS.items() for domain in data_set.parts]


@pytest.mark.parametrize("name", SMALL)
def test_a_task_never_sees_the_domain_that_is_left_out(name: str, root: Path) -> None:
    domains = list(DATA_SETS[name].parts)
    for held_out in domains:
        task = f"{name}/{held_out}"
        opened, sealed = BUILT_IN.open(task, Folder(root)), BUILT_IN.unseal(task, Folder(root))
        number = domains.index(held_out)
        for images in (opened.train, opened.val):
            assert set(images.contexts.tolist()) == set(range(len(domains))) - {number}
            assert set(images.labels.tolist()) == set(range(len(DATA_SETS[name].classes)))
        assert not set(opened.train.groups) & set(opened.val.groups)
        assert BUILT_IN.open(task, Folder(root)).train is opened.train, "the images of every cell are listed anew"
        assert sealed.test is None and list(sealed.suites) == [held_out]
        suite = sealed.suites[held_out]
        assert set(suite.contexts.tolist()) == {number}
        assert len(suite) == 2 * len(DATA_SETS[name].classes)
        for row in range(0, len(suite), 7):
            domain, folder, _ = suite.names[row].split("/")
            assert domain == held_out and list(CLASSES[name])[suite.labels[row]] == folder
        assert opened.digests["attested"] == "no: fixture"


def test_a_photo_that_lies_in_two_classes_stays_on_one_side(tmp_path: Path) -> None:
    """DomainBed's script copies a camera trap photo into the folder of every animal that it shows."""
    DATA_SETS["terraincognita"].fixture(tmp_path)
    place = tmp_path / "terra_incognita" / "location_38"
    for number in range(6):
        for name in ("cat", "dog"):
            picture(number).save(place / name / f"both{number}.jpg")
    task = BUILT_IN.open("terraincognita/l100", Folder(tmp_path))
    assert not set(task.train.groups) & set(task.val.groups)
    assert sum("both" in name for name in (*task.train.names, *task.val.names)) == 12
    assert len({group for group in (*task.train.groups, *task.val.groups) if "both" in group}) == 6


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (
            lambda place: shutil.rmtree(place / "cartoon" / "horse"),
            "1 of its 7 class folders in '.*cartoon'.*'horse' first",
        ),
        (lambda place: (place / "photo" / "zebra").mkdir(), "'zebra' is not one of its classes"),
        (lambda place: shutil.rmtree(place / "sketch"), "pacs is incomplete.*sketch"),
    ],
)
def test_a_set_that_is_not_whole_is_refused_by_name(change, says: str, pacs: Path) -> None:
    change(pacs / "PACS")
    with pytest.raises(UserError, match=says):
        BUILT_IN.open("pacs/photo", Folder(pacs))


def test_a_picture_is_the_image_of_its_name(root: Path) -> None:
    assert compared_pictures("pacs/photo", root) == 2


def test_a_check_names_a_broken_image(pacs: Path) -> None:
    victim = sorted((pacs / "PACS" / "photo" / "dog").iterdir())[0]
    victim.write_bytes(victim.read_bytes()[:150])
    found = check(DATA_SETS["pacs"], pacs)
    assert found.status == "failed" and list(found.unreadable) == [f"photo/dog/{victim.name}"]
