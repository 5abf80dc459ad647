"""Large trees of one's own are read from an index, which says what listing says."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from carft.config.catalog import BUILT_IN
from carft.data.folder import reading
from carft.data.folder.family import data_set_of
from carft.data.folder.named import folder_task, named_task
from carft.data.folder.reading import read
from carft.data.indexing import VARIABLE
from tests.support.folder import Folder, draw_pets


@pytest.fixture
def pets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The example tree, an hour old, in a world where eight files are many."""
    draw_pets(tmp_path)
    age(tmp_path / "pets")
    monkeypatch.setenv(VARIABLE, str(tmp_path / "indexes"))
    monkeypatch.setattr(reading, "SPOT", 8)
    return tmp_path / "pets"


def age(root: Path, hours: float = 1) -> None:
    """Make every folder look as if nothing had changed in it for a while."""
    for folder, _, _ in os.walk(root):
        when = Path(folder).stat().st_mtime - 3600 * hours
        os.utime(folder, (when, when))


def as_another_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forget what was read, and fail where the folder would be listed again."""
    reading._read.cache_clear()

    monkeypatch.setattr(reading, "_listed", None)


def test_other_processes_read_the_index_and_find_the_same(pets: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as few:
        few.setattr(reading, "SPOT", 10_000)
        plain = read(pets)
    assert not list((pets.parent / "indexes").glob("*.arrow"))
    reading._read.cache_clear()
    assert read(pets) == plain
    assert read(pets, "^([a-z_]+)").splits.keys() == {"cat", "dog", "guinea_pig"}
    as_another_process(monkeypatch)
    again = read(pets)
    assert again == plain and again.part("photo", "test") == plain.part("photo", "test")
    sealed = BUILT_IN.unseal(folder_task(pets), Folder()).sets()
    assert {name.split("/")[0] for name in sealed["test"].names} == {"photo"}


def test_a_new_image_and_a_new_class_are_noticed(pets: Path) -> None:
    first = read(pets).digest
    shutil.copy(next((pets / "photo" / "cat").iterdir()), pets / "photo" / "cat" / "cat-new.jpg")
    reading._read.cache_clear()
    second = read(pets)
    assert second.digest != first and "cat-new" in second.splits
    for domain in ("photo", "scan", "sketch"):
        shutil.copytree(pets / domain / "cat", pets / domain / "ant")
    reading._read.cache_clear()
    assert read(pets).folders == ("ant", "cat", "dog", "guinea_pig")


def test_data_check_compares_every_file_with_the_index(pets: Path) -> None:
    task = named_task("zoo/pets", pets)
    path = next((pets / "photo" / "cat").iterdir())
    path.write_bytes(path.read_bytes() + b" ")
    reading._read.cache_clear()
    found = data_set_of("zoo/pets", task)
    assert found.version != task.version.rpartition("-")[0]
