"""A packed copy of a data set is read as its files are: same images, digests and records; faults are one sentence."""

from __future__ import annotations

import json
import shutil
import tarfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from carft.catalog.families import DATA_SETS
from carft.catalog.resolve import specify
from carft.config.cell import Training
from carft.core.errors import UserError
from carft.data import indexing
from carft.data.checking import check
from carft.data.fetching import fetch
from carft.data.folder.reading import own_files, read
from carft.data.image_files import Files
from carft.data.indexing import indexed
from carft.data.packing import pack
from carft.data.sets import MARKER
from carft.store.records import Store
from carft.training.execution import Execution
from carft.training.run import run_cell
from tests.support.folder import draw_pets, write_tasks
from tests.support.helpers import LR, run_cli

PETS = DATA_SETS["pets"]
#: bytes of images in a shard, so that the fixture has several
SMALL = 20_000


@pytest.fixture(autouse=True)
def _own_indexes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(indexing, "OWN", str(tmp_path / "own"))
    monkeypatch.delenv(indexing.VARIABLE)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data root with the fixture of pets. Do not change it."""
    root = tmp_path_factory.mktemp("files")
    PETS.fixture(root)
    return root


@pytest.fixture
def packed(files: Path, tmp_path: Path) -> Path:
    """A data root with its packed copy."""
    pack(PETS, files, tmp_path / "packed", shard_bytes=SMALL)
    return tmp_path / "packed"


def shards(root: Path) -> list[Path]:
    return sorted((root / PETS.folder).glob("*.tar"))


@pytest.mark.parametrize("name", ["pets", "pacs", "objectnet", "cifar10"])
def test_a_packed_copy_holds_the_images_of_the_files(name: str, tmp_path: Path) -> None:
    """A tree, annotation files, domains, images with a border, and one file of many images."""
    data_set = DATA_SETS[name]
    data_set.fixture(tmp_path)
    copy = pack(data_set, tmp_path, tmp_path / "to")
    assert copy.folder == tmp_path / "to" / data_set.folder and not list((tmp_path / "to").rglob("*.jpg"))
    from_files, from_pack = check(data_set, tmp_path), check(data_set, tmp_path / "to")
    assert from_pack == from_files and from_pack.status == "fixture"
    one, other = indexed(data_set, tmp_path), indexed(data_set, tmp_path / "to")
    for split, index in one.splits.items():
        place, there = tmp_path / data_set.folder, tmp_path / "to" / data_set.folder
        assert [path.relative_to(place) for path in index.paths] == [
            path.relative_to(there) for path in other.splits[split].paths
        ]
        assert (index.labels, list(index.groups)) == (other.splits[split].labels, list(other.splits[split].groups))
        mine, its = data_set.images({split: index}), data_set.images({split: other.splits[split]})
        assert len(mine) and mine.names == its.names
        for row in range(0, len(mine), 7):
            assert torch.equal(mine.images[row], its.images[row])
        assert np.array_equal(*(data_set.picture(found.splits[split].paths[0]) for found in (one, other)))


def test_a_cell_has_the_same_record_from_files_and_from_a_packed_copy(
    files: Path, packed: Path, tmp_path: Path
) -> None:
    assert len(shards(packed)) > 2
    cell = specify(
        *("pets", "car_ft", {"lr": LR, "kl_weight": 1.0}, 0, Training(epochs=1, batch_size=32)),
        model="icons-resnet",
        pretrained="icons-3",
    )
    stores, made = [], []
    for number, root in enumerate((files, packed)):
        store = Store(tmp_path / f"results-{number}")
        run_cell(cell, store, Execution(data=str(root)), unseal=True)
        stores.append(store)
        of_record = store.read(cell.id).made_with
        made.append((store.metrics(cell.id), of_record.digests, of_record.pixels, of_record.heads))
    assert made[0] == made[1] and made[0][1]["pets"]
    one, other = stores
    np.testing.assert_equal(one.history(cell.id), other.history(cell.id))
    for name in ("val", "test"):
        np.testing.assert_equal(vars(one.predictions(cell.id, name)), vars(other.predictions(cell.id, name)))


def test_a_packed_copy_of_your_own_table_is_the_same_version(tmp_path: Path) -> None:
    root = table_of_pets(tmp_path)
    write_tasks(tmp_path, {"name": "zoo", "path": "pets/table.csv"})
    made = run_cli("data", "pack", "zoo", "--tasks-file", tmp_path, "--to", tmp_path / "packed")
    copy = tmp_path / "packed" / "pets" / "table.csv"
    assert made.returncode == 0 and f"write '{copy}' as the path of zoo" in made.stdout.replace("\n", " ")
    one, other = read(root / "table.csv"), read(copy)
    assert (one.version, one.splits, one.classes) == (other.version, other.splits, other.classes)
    write_tasks(tmp_path, {"name": "zoo", "path": str(copy)})
    checked = run_cli("data", "check", "zoo", "--tasks-file", tmp_path)
    assert checked.returncode == 0 and "Every image can be read" in checked.stdout


def test_other_programs_read_the_shards_as_they_read_those_of_webdataset(files: Path, packed: Path) -> None:
    """Members that share a key, the name before its first dot, follow each other."""
    index = indexed(PETS, files).splits
    for split in ("train", "test"):
        found = []
        for path in shards(packed):
            if path.name.startswith(split):
                with tarfile.open(path) as shard:
                    held = [(member.name, shard.extractfile(member).read()) for member in shard]  # type: ignore[union-attr]
                for (image, content), (label, text) in zip(held[::2], held[1::2], strict=True):
                    assert image.split(".") == [label.split(".")[0], "jpg"] and label.endswith(".cls")
                    found.append((content, int(text)))
        expected = [path.read_bytes() for path in index[split].paths]
        assert found == list(zip(expected, index[split].labels, strict=True))


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-9000])


#: the file of a copy that is changed, and how
FAULTS: list[tuple[str, Callable[[Path], object]]] = [
    ("train-000001.tar", cut),
    ("train-000001.tar", Path.unlink),
    ("annotations/test.txt", cut),
    ("carft-shards.arrow", cut),
]


@pytest.mark.parametrize(("name", "fault"), FAULTS)
def test_a_copy_that_is_not_whole_is_refused_with_the_file(
    name: str, fault: Callable[[Path], object], packed: Path
) -> None:
    path = packed / PETS.folder / name
    fault(path)
    train = ("train", "--task", "pets", "--method", "ft", "--lr", "1e-4", "--model", "icons-resnet")
    for command in (("data", "check", "pets"), (*train, "--pretrained", "icons-3", "--results", packed / "results")):
        found = run_cli(*command, "--data", packed)
        assert found.returncode == 2 and f"'{path}'" in found.stderr and "Traceback" not in found.stderr


def test_a_changed_image_is_never_trained_on(packed: Path) -> None:
    """Its bytes change in the shard, which keeps its size."""
    index = indexed(PETS, packed).splits["train"]
    shard = packed / PETS.folder / "train-000000.tar"
    content = bytearray(shard.read_bytes())
    content[1600] ^= 1
    shard.write_bytes(content)
    with pytest.raises(UserError, match=f"'{shard}' are not those that were packed") as refused:
        Files(index.paths)[0]
    assert f"The image '{index.paths[0]}' cannot be read" in refused.value.message
    assert Files(index.paths)[1].shape[0] == 3
    found = run_cli("data", "check", "pets", "--data", packed, "--json")
    (said,) = json.loads(found.stdout)
    assert found.returncode == 1 and len(said["unreadable"]) == 1


def test_packing_goes_on_where_it_was_interrupted(files: Path, packed: Path, tmp_path: Path) -> None:
    to, written = tmp_path / "to", list[str]()

    def killed(line: str) -> None:
        written.append(line)
        if len(written) == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pack(PETS, files, to, killed, SMALL)
    with pytest.raises(UserError):
        indexed(PETS, to)
    written.clear()
    pack(PETS, files, to, written.append, SMALL)
    assert len(written) == len(shards(packed)) - 2
    assert [path.read_bytes() for path in shards(to)] == [path.read_bytes() for path in shards(packed)]
    written.clear()
    cut(shards(to)[1])
    pack(PETS, files, to, written.append, SMALL)
    assert len(written) == 1 and check(PETS, to) == check(PETS, files)


def table_of_pets(folder: Path) -> Path:
    """The fixture of pets with a table of all photos."""
    root = draw_pets(folder)
    lines = ["path,class,group"]
    for path in sorted(root.glob("photo/*/*")):
        lines.append(f"{path.relative_to(root)},{path.parent.name},{path.stem}")
    (root / "table.csv").write_text("\n".join(lines))
    return root.resolve()


def test_a_label_that_was_corrected_is_in_the_shards_and_no_former_shard_stays(tmp_path: Path) -> None:
    root, to, written = table_of_pets(tmp_path), tmp_path / "to", list[str]()
    table = root / "table.csv"
    pack(own_files(table), Path(), to, shard_bytes=SMALL)
    before = {path.name for path in (to / "pets").glob("*.tar")}
    header, first, *others = table.read_text().splitlines()
    name, _, stem = first.split(",")
    kept = [header, f"{name},dog,{stem}", *others[: len(others) // 2], next(x for x in others if ",dog," in x)]
    table.write_text("\n".join(dict.fromkeys(kept)))
    (to / "pets" / "mine.tar").write_bytes(b"a file of the user")
    pack(own_files(table), Path(), to, written.append, SMALL)
    (index,) = indexed(own_files(to / "pets" / "table.csv"), Path()).splits.values()
    labels = []
    for path in sorted((to / "pets").glob("*-*.tar")):
        with tarfile.open(path) as shard:
            labels += [int(shard.extractfile(m).read()) for m in shard if m.name.endswith(".cls")]  # type: ignore[union-attr]
    assert labels == list(index.labels)
    after = {path.name for path in (to / "pets").glob("*.tar")}
    assert "mine.tar" in after and after - {"mine.tar"} < before and written


def test_what_cannot_be_packed_is_refused_in_a_sentence(files: Path, packed: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="holds the images as files"):
        pack(PETS, files, files)
    with pytest.raises(UserError, match="is packed already"):
        pack(PETS, packed, tmp_path / "other")
    shutil.copytree(files, tmp_path / "elsewhere")
    with pytest.raises(UserError, match="holds a packed copy of other data"):
        pack(PETS, tmp_path / "elsewhere", packed)
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="could not be packed"):
        pack(PETS, files, tmp_path / "file")
    with pytest.raises(UserError, match="another reading"):
        indexed(replace(PETS, version="2"), packed)


def test_a_packed_copy_is_not_downloaded_into(packed: Path) -> None:
    (packed / PETS.folder / MARKER).unlink()
    assert not fetch(PETS, packed)
