"""The nine downstream sets: fake trees in their real layouts, read as torchvision reads them, and trained on."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.io import loadmat, savemat
from torchvision import datasets as tv

from carft.catalog.catalog import BUILT_IN
from carft.catalog.families import DATA_SETS, DOWNSTREAM
from carft.core.errors import UserError
from carft.data.checking import check
from carft.data.downstream.family import COUNTS
from carft.data.sets import picture
from carft.store.records import Store
from carft.training.execution import Execution
from reports.build import build_report
from sweeps.recipes.loading import load_recipe
from tests.support.folder import Folder, compared_pictures
from tests.support.serial import run_jobs

#: a file that a half-downloaded set lacks, and an image
NEEDED = {
    "cifar10": ("data_batch_4.bin", None),
    "cifar100": ("test.bin", None),
    "dtd": ("dtd/labels/val1.txt", "dtd/images/banded/00001.jpg"),
    "food101": ("meta/test.json", "images/apple_pie/00001.jpg"),
    "sun397": ("Testing_01.txt", "a/abbey/sun_00001.jpg"),
    "cars": ("cars_test_annos_withlabels.mat", "cars_train/00001.jpg"),
    "aircraft": ("data/images_variant_val.txt", "data/images/00001.jpg"),
    "pets": ("annotations/test.txt", "images/Abyssinian_00001.jpg"),
    "flowers": ("setid.mat", "jpg/image_00001.jpg"),
}


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data root with a fixture of every set. Do not change it."""
    root = tmp_path_factory.mktemp("drawn")
    for name in DOWNSTREAM:
        DATA_SETS[name].fixture(root)
    return root


@pytest.fixture
def own(drawn: Path, tmp_path: Path):
    """Makes a copy of one set's fixture that may be changed, and gives its data root."""

    def copy(name: str) -> Path:
        shutil.copytree(drawn / DATA_SETS[name].folder, tmp_path / DATA_SETS[name].folder)
        return tmp_path

    return copy


@pytest.mark.parametrize("name", DOWNSTREAM)
def test_a_fixture_is_checked_and_is_no_real_set(name: str, drawn: Path) -> None:
    found = check(DATA_SETS[name], drawn)
    assert (found.status, found.problems, dict(found.unreadable)) == ("fixture", (), {})
    assert found.counts == {split: COUNTS[split] * len(BUILT_IN.card(name).classes) for split in DATA_SETS[name].counts}
    assert found.digests()["attested"] == "no: fixture"


@pytest.mark.parametrize("name", DOWNSTREAM)
def test_train_val_and_test_are_apart_and_hold_every_class(name: str, drawn: Path) -> None:
    task, sealed = BUILT_IN.open(name, Folder(drawn)), BUILT_IN.unseal(name, Folder(drawn))
    assert sealed.test is not None and not sealed.suites
    parts = [task.train, task.val, sealed.test]
    everything = [image for part in parts for image in part.names]
    assert len(everything) == len(set(everything))
    for part in parts:
        assert sorted(set(part.labels.tolist())) == list(range(len(BUILT_IN.card(name).classes)))
        assert (part.contexts == -1).all() and len(part.images) == len(part)
    assert task.digests["attested"] == "no: fixture" and len(task.digests[name]) == 64


def of_torchvision(name: str, split: str, root: Path) -> tuple[list[Path], list[int]]:
    """What torchvision's own class reads: paths and labels."""
    if name == "dtd":
        found = tv.DTD(root, split, partition=1)
        return found._image_files, found._labels
    if name == "food101":
        found = tv.Food101(root, split)
        return found._image_files, found._labels
    if name == "aircraft":
        found = tv.FGVCAircraft(root, split)
        return list(map(Path, found._image_files)), found._labels
    if name == "pets":
        found = tv.OxfordIIITPet(root, {"train": "trainval"}.get(split, split))
        return found._images, found._labels
    if name == "flowers":
        found = tv.Flowers102(root, split)
        return found._image_files, found._labels
    found = tv.StanfordCars(root, split)
    return [Path(path) for path, _ in found._samples], [int(label) for _, label in found._samples]


@pytest.mark.parametrize("name", ["dtd", "food101", "aircraft", "pets", "flowers", "cars"])
def test_an_index_is_what_torchvision_reads(name: str, drawn: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # the fixture's labels have other digests than the real ones
    monkeypatch.setattr(tv.Flowers102, "_check_integrity", lambda self: True)
    (drawn / DATA_SETS["aircraft"].folder / "data/variants.txt").write_text("\n".join(DATA_SETS["aircraft"].labels))
    for split, index in DATA_SETS[name].index(drawn).items():
        paths, labels = of_torchvision(name, split, drawn)
        assert list(index.paths) == paths
        assert list(index.labels) == labels


def test_sun_labels_are_those_of_torchvision(drawn: Path) -> None:
    (drawn / "SUN397" / "ClassName.txt").write_text("\n".join(DATA_SETS["sun397"].labels))
    found = tv.SUN397(drawn)
    theirs = dict(zip(found._image_files, found._labels, strict=True))
    for index in DATA_SETS["sun397"].index(drawn).values():
        assert [theirs[path] for path in index.paths] == list(index.labels)


def test_cifar_records_are_read_byte_by_byte(tmp_path: Path) -> None:
    """Two records of CIFAR-100: coarse label, fine label, then the red, green and blue planes row by row."""
    place = tmp_path / "cifar-100-binary"
    DATA_SETS["cifar100"].fixture(tmp_path)
    planes_ = np.arange(2 * 3072, dtype=np.uint32).astype(np.uint8).reshape(2, 3072)
    (place / "test.bin").write_bytes(
        b"".join(bytes([19, fine]) + planes_[i].tobytes() for i, fine in enumerate([7, 42]))
    )
    index = DATA_SETS["cifar100"].index(tmp_path)["test"]
    assert index.labels == (7, 42)
    images = DATA_SETS["cifar100"].pixels(index.paths)
    assert images.shape == (2, 3, 32, 32)
    assert images[1, 2, 3, 4] == planes_[1, 2 * 1024 + 3 * 32 + 4]


def test_cifar_labels_go_through_the_set_s_own_names(own) -> None:
    root = own("cifar10")
    names = root / "cifar-10-batches-bin" / "batches.meta.txt"
    before = DATA_SETS["cifar10"].index(root)["test"].labels
    listed = names.read_text().split()
    names.write_text("\n".join([listed[1], listed[0], *listed[2:]]))
    after = DATA_SETS["cifar10"].index(root)["test"].labels
    swapped = {0: 1, 1: 0}
    assert list(after) == [swapped.get(label, label) for label in before]


@pytest.mark.parametrize("name", DOWNSTREAM)
def test_a_set_that_is_not_there_is_refused_with_where_and_how(name: str, tmp_path: Path) -> None:
    for request in (BUILT_IN.open, BUILT_IN.unseal, BUILT_IN.require_present):
        with pytest.raises(UserError) as caught:
            request(name, Folder(tmp_path))
        said = str(caught.value)
        assert f"The data set {name} is not here" in said and str(tmp_path / DATA_SETS[name].folder) in said
        assert DATA_SETS[name].licence in said and DATA_SETS[name].source in said
    with pytest.raises(UserError, match="--data ROOT"):
        BUILT_IN.open(name, Folder(None))


@pytest.mark.parametrize("name", DOWNSTREAM)
def test_a_half_downloaded_set_names_the_file(name: str, own) -> None:
    root = own(name)
    needed, image = NEEDED[name]
    place = root / DATA_SETS[name].folder
    if image:
        (place / image).unlink()
        with pytest.raises(UserError, match="incomplete") as caught:
            check(DATA_SETS[name], root)
        assert str(place / image) in str(caught.value)
    (place / needed).unlink()
    with pytest.raises(UserError, match="incomplete") as caught:
        BUILT_IN.require_present(name, Folder(root))
    assert str(place / needed) in str(caught.value)


@pytest.mark.parametrize(
    ("name", "file", "content"),
    [
        ("cifar10", "test_batch.bin", b"x" * 5000),
        ("cifar10", "data_batch_1.bin", b""),
        ("cifar100", "test.bin", bytes([0, 100]) + bytes(3072)),
        ("food101", "meta/train.json", b'{"apple_pie": ["apple_pie/1'),
        ("food101", "meta/train.json", b"[1, 2]"),
        ("pets", "annotations/test.txt", b"Abyssinian_1 1 1\n"),
        ("flowers", "setid.mat", b"MATLAB 5.0 MAT-file"),
        ("cars", "devkit/cars_train_annos.mat", b""),
        ("dtd", "dtd/labels/train1.txt", b"\xff\xfe\x00"),
    ],
)
def test_a_torn_annotation_file_is_named(name: str, file: str, content: bytes, own) -> None:
    root = own(name)
    path = root / DATA_SETS[name].folder / file
    path.write_bytes(content)
    with pytest.raises(UserError) as caught:
        DATA_SETS[name].index(root)
    assert str(path) in str(caught.value)


def test_numbers_that_point_nowhere_are_refused(own) -> None:
    root = own("flowers")
    splits = {k: v for k, v in loadmat(root / "flowers-102" / "setid.mat").items() if not k.startswith("__")}
    savemat(root / "flowers-102" / "setid.mat", {**splits, "trnid": np.array([[1, 9000]])})
    with pytest.raises(UserError, match="setid"):
        DATA_SETS["flowers"].index(root)


def test_an_unknown_class_is_refused(own) -> None:
    root = own("dtd")
    path = root / "dtd" / "dtd" / "labels" / "train1.txt"
    path.write_text(path.read_text() + "fluffy/fluffy_0001.jpg\n")
    with pytest.raises(UserError, match="'fluffy', which is no class of dtd"):
        DATA_SETS["dtd"].index(root)


def test_a_class_without_a_training_image_is_refused(own) -> None:
    root = own("dtd")
    path = root / "dtd" / "dtd" / "labels" / "train1.txt"
    path.write_text("".join(line for line in path.read_text().splitlines(True) if not line.startswith("grid/")))
    with pytest.raises(UserError, match="no image to train on of the class 'grid'"):
        BUILT_IN.open("dtd", Folder(root))


@pytest.mark.parametrize("name", ["cifar10", "pets", "dtd"])
def test_a_picture_is_the_image_of_its_name(name: str, drawn: Path) -> None:
    assert compared_pictures(name, drawn) == 2


def test_a_picture_that_is_not_there_is_refused(drawn: Path) -> None:
    outside = drawn.parent / "outside.jpg"
    picture(0).save(outside)
    for name in ("images/none.jpg", "../../outside.jpg", str(outside)):
        with pytest.raises(UserError, match="has no image called"):
            BUILT_IN.family("pets").picture(BUILT_IN.card("pets"), "test", name, drawn)
    for name in ("test_batch.bin/x", "test_batch.bin/99999", "../cifar-10-batches-bin/test_batch.bin/00000"):
        with pytest.raises(UserError):
            BUILT_IN.family("cifar10").picture(BUILT_IN.card("cifar10"), "test", name, drawn)
    with pytest.raises(UserError, match="--data"):
        BUILT_IN.family("pets").picture(BUILT_IN.card("pets"), "test", "images/none.jpg", None)


#: tasks of the data sets that no sweep of the matrix opens
TASKS = ("officehome/art", "terraincognita/l38", "domainnet/sketch")
IN_THE_MATRIX = (*DOWNSTREAM, "imagenet", "pacs/sketch", "vlcs/sun09")


@pytest.mark.slow
@pytest.mark.full
def test_every_task_opens_sets_of_the_catalog() -> None:
    assert {name for task in (*TASKS, *IN_THE_MATRIX) for name in BUILT_IN.card(task).data_sets} == set(DATA_SETS)


@pytest.mark.slow
@pytest.mark.full
@pytest.mark.usefixtures("few_figures")
def test_from_the_layout_to_the_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With 2 of the 80 context templates: encoding text is not what is tested here."""
    for task in TASKS:
        for data_set in BUILT_IN.data_sets(task):
            data_set.fixture(tmp_path / "data")
        family, card = BUILT_IN.opener(task)
        few = {"templates": card.templates[:2], "banks": {"standard": card.bank("standard")[:2]}}
        monkeypatch.setitem(family.cards, task, replace(card, **few))
    store = Store(tmp_path / "results")
    start = {"model": "icons-resnet", "pretrained": "icons-3"}
    recipe = load_recipe("downstream").smoked().changed(list(TASKS), ["zeroshot", "car_ft"], seeds=1, **start)
    protocol = run_jobs(recipe, store, Execution(data=str(tmp_path / "data")))
    for study in protocol.studies:
        (cell, *_) = protocol.progress(study).confirm_cells
        assert store.evaluated(cell.id) == set(BUILT_IN.card(study.task).sets)
        assert store.read(cell.id).provenance["digests"]["attested"].startswith("no: ")
    built = build_report(store, tmp_path / "report")
    page = built.page.read_text(encoding="utf-8")
    assert all(task in page for task in TASKS)
    assert "fixture" in page
