"""The nine downstream sets: fake trees in their real layouts, read as torchvision reads them, and trained on."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from torchvision import datasets as tv

from carft.catalog.catalog import BUILT_IN
from carft.catalog.families import DATA_SETS, DOWNSTREAM
from carft.core.errors import UserError
from carft.data.checking import check
from carft.data.downstream.family import COUNTS
from carft.data.sets import picture
from tests.support.folder import Folder, compared_pictures

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


def test_an_unknown_class_is_refused(own) -> None:
    root = own("dtd")
    path = root / "dtd" / "dtd" / "labels" / "train1.txt"
    path.write_text(path.read_text() + "fluffy/fluffy_0001.jpg\n")
    with pytest.raises(UserError, match="'fluffy', which is no class of dtd"):
        DATA_SETS["dtd"].index(root)


@pytest.mark.parametrize("name", ["cifar10", "pets", "dtd"])
def test_a_picture_is_the_image_of_its_name(name: str, drawn: Path) -> None:
    assert compared_pictures(name, drawn) == 2


def test_a_picture_that_is_not_there_is_refused(drawn: Path) -> None:
    outside = drawn.parent / "outside.jpg"
    picture(0).save(outside)
    for name in ("images/none.jpg", "../../outside.jpg", str(outside)):
        with pytest.raises(UserError, match="has no image called"):
            BUILT_IN.family("pets").picture(BUILT_IN.card("pets"), "test", name, drawn)
    with pytest.raises(UserError, match="--data"):
        BUILT_IN.family("pets").picture(BUILT_IN.card("pets"), "test", "images/none.jpg", None)
