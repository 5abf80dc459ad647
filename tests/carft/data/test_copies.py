"""Held-out images that are byte-equal copies count as one group, and commands on the data say so."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from carft.catalog.catalog import BUILT_IN
from carft.data.folder.copies import equal_files, merged_groups
from carft.data.folder.images import split_of
from tests.support.folder import Folder, draw_pets, named_task, write_tasks
from tests.support.helpers import run_cli

COPIES = 7
MODEL = ("--model", "icons-resnet", "--pretrained", "icons-3")


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    """A tree whose held-out images are there several times, each copy with a stem, and so a group, of its own."""
    root = draw_pets(tmp_path)
    for path in sorted(root.glob("*/*/*")):
        if split_of(path.stem) != "test":
            continue
        names = (f"{path.stem}-copy{number}" for number in range(1000))
        for name in [name for name in names if split_of(name) == "test"][:COPIES]:
            shutil.copyfile(path, path.with_name(f"{name}{path.suffix}"))
    return root


def test_copies_of_held_out_images_are_one_group(copied: Path) -> None:
    task = named_task("mine", copied, ["photo"], ["scan", "sketch"])
    catalog = BUILT_IN.with_tasks([task])
    sealed = catalog.unseal("mine", Folder())
    assert sealed.test is not None
    images = len(sealed.test)
    assert images == 9 * (1 + COPIES)
    assert len(set(sealed.test.groups)) == 9
    for suite in sealed.suites.values():
        assert len(set(suite.groups)) == 9
        assert set(suite.groups) == set(sealed.test.groups)


def test_init_check_and_plan_say_how_many_copies_there_are(copied: Path, tmp_path: Path) -> None:
    words = f"{9 * COPIES} of {9 * (1 + COPIES)} images of test are copies of another one, byte for byte."
    begun = run_cli("init", copied, "--to", tmp_path / "mine", "--hold-out", "scan,sketch", *MODEL)
    assert words in " ".join(begun.stdout.split())
    entry = {"name": "mine", "path": str(copied), "id_domains": ["photo"], "ood_domains": ["scan"]}
    file = write_tasks(tmp_path, entry)
    checked = run_cli("data", "check", "mine", "--tasks-file", file)
    assert words in " ".join(checked.stdout.split())
    planned = run_cli("plan", tmp_path / "mine" / "recipe.yaml", "--results", tmp_path / "results")
    assert words in " ".join(planned.stdout.split())


def test_files_of_one_size_and_end_that_differ_are_no_copies(tmp_path: Path) -> None:
    contents = {"a": b"1" + b"0" * 5000, "b": b"2" + b"0" * 5000, "c": b"1" + b"0" * 5000, "d": b"1"}
    paths = [tmp_path / name for name in contents]
    for path in paths:
        path.write_bytes(contents[path.name])
    assert equal_files([*paths, tmp_path / "none"]) == [[tmp_path / "a", tmp_path / "c"]]


def test_groups_that_share_copies_are_merged_whatever_stands_between_them() -> None:
    group_of = {Path(name): name[0] for name in ("a1", "b1", "b2", "c2", "d1")}
    equal = [[Path("b2"), Path("c2")], [Path("a1"), Path("b1")]]
    assert merged_groups(group_of, equal) == {"b": "a", "c": "a"}
