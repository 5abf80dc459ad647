"""Your own data: names, splits, what is refused, and a task that trains and is unsealed."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from carft.catalog.catalog import BUILT_IN, Catalog
from carft.catalog.resolve import specify
from carft.config.cell import Training
from carft.core.errors import UserError
from carft.data.decoding import decode_pixels
from carft.data.folder.images import split_of
from carft.data.folder.reading import read
from carft.data.sets import picture
from carft.store.records import Store
from carft.training.execution import Execution
from carft.training.run import run_cell
from tests.support.folder import Folder, compared_pictures, draw_pets, keep_tasks, named_task

PETS = "zoo/pets"
DOMAINS = ("photo", "scan", "sketch")
CLASSES = ("cat", "dog", "guinea_pig")


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The example tree. Do not change it."""
    return draw_pets(tmp_path_factory.mktemp("own"))


@pytest.fixture
def tree(original: Path, tmp_path: Path) -> Path:
    """A copy of the example tree."""
    return shutil.copytree(original, tmp_path / "pets")


def catalog_of(tree: Path, *domains: Sequence[str], **facts: Any) -> Catalog:
    """The catalog with one task on a tree."""
    return BUILT_IN.with_tasks([named_task(PETS, tree, *domains, **facts)])


# domains


def domains_of(tree: Path, inside: Sequence[str] = (), outside: Sequence[str] = ()) -> tuple[str, ...]:
    task = named_task("zoo/pets", tree, inside, outside)
    return (*task.id_domains, "|", *task.ood_domains)


def test_domains_that_are_not_chosen_are_filled_in(tree: Path) -> None:
    assert domains_of(tree) == ("photo", "|", "scan", "sketch")
    assert domains_of(tree, ["sketch"]) == ("sketch", "|", "photo", "scan")
    assert domains_of(tree, [], ["photo"]) == ("scan", "sketch", "|", "photo")
    assert domains_of(tree, ["scan"], ["photo"]) == ("scan", "|", "photo")


@pytest.mark.parametrize(
    ("inside", "outside", "says"),
    [
        (["photos"], [], "no domain in .*'photos'"),
        ([], ["../photo"], "no domain in .*'../photo'"),
        (["photo", "scan"], ["scan"], "both in and out"),
        (DOMAINS, [], "out of distribution"),
        ([], DOMAINS, "in distribution"),
    ],
)
def test_a_choice_of_domains_that_cannot_be_is_refused(
    inside: Sequence[str], outside: Sequence[str], says: str, tree: Path
) -> None:
    with pytest.raises(UserError, match=says):
        domains_of(tree, inside, outside)


# splits


def test_the_stable_hash_keeps_to_its_shares_and_to_what_it_said_before() -> None:
    found = [split_of(f"image-{i}") for i in range(5000)]
    assert [found.count(s) / 5000 for s in ("train", "val", "test")] == pytest.approx([0.6, 0.2, 0.2], abs=0.02)
    assert [split_of(s) for s in ("cat-000", "cat-001", "cat-002", "cat-003")] == EARLIER


#: worked out once; a change would move images of trees that results were published for
EARLIER = ["val", "train", "val", "val"]


def test_stems_stay_on_one_side_in_every_domain_and_are_the_groups(tree: Path) -> None:
    catalog = catalog_of(tree, ["photo", "scan"])
    task, sealed = catalog.open(PETS, Folder()), catalog.unseal(PETS, Folder())
    sides = [set(task.train.groups), set(task.val.groups), set(sealed.test.groups)]
    assert not sides[0] & sides[1] and not sides[0] & sides[2] and not sides[1] & sides[2]
    assert set(sealed.suites["sketch"].groups) == sides[2]
    assert len(task.train) == 2 * 3 * 6 and len(sealed.test) == 2 * 3 * 3 and len(sealed.suites["sketch"]) == 9


# what a tree means


def test_classes_labels_and_contexts_are_those_of_the_folders(tree: Path) -> None:
    catalog = catalog_of(tree, ["photo", "scan"], class_names={"guinea_pig": "cavy"}, prompts={"scan": "a scanned {}."})
    card = catalog.card(PETS)
    assert card.classes == ("cat", "dog", "cavy")
    assert card.contexts == ("a photo of a {}.", "a scanned {}.", "a sketch of a {}.")
    assert card.bank("domains") == card.contexts
    train = catalog.open(PETS, Folder()).train
    for name, label, context in zip(train.names, train.labels, train.contexts, strict=True):
        domain, folder, _ = name.split("/")
        assert (domain, folder) == (DOMAINS[context], CLASSES[label])
    assert set(catalog.unseal(PETS, Folder()).suites["sketch"].contexts.tolist()) == {2}


def test_versions_are_those_of_earlier_releases_wherever_the_data_lie(tmp_path: Path) -> None:
    """They are part of the id of every cell."""
    names = [f"{domain}/{name}" for domain in ("photo", "sketch") for name in ("cat/a.png", "guinea_pig/b.jpg")]
    for size, name in enumerate(names, 1):
        path = tmp_path / "else?where" / name
        path.parent.mkdir(parents=True)
        path.write_bytes(b"x" * size)
    assert named_task(PETS, tmp_path / "else?where").version == "folder-d476a21b2791f3e2-383969a7"
    table = tmp_path / "else?where" / "images.csv"
    rows = [
        f"{name},{name.split('/')[1]},{name.split('/')[0]},g{name[-5]},{'train' if 'cat' in name else 'test'}"
        for name in names
    ]
    table.write_text("\n".join(["path,class,domain,group,split", *rows]))
    assert named_task(PETS, table).version == "folder-1cd19a8d2d305910-383969a7"
    path.write_bytes(b"another size")
    assert named_task(PETS, tmp_path / "else?where").version != "folder-d476a21b2791f3e2-383969a7"


def test_a_tree_that_changes_between_naming_and_opening_is_refused(tree: Path) -> None:
    catalog = catalog_of(tree)
    picture(0).save(tree / "scan" / "dog" / "late.png")
    with pytest.raises(UserError, match="changed since"):
        catalog.require_present(PETS, Folder())


# what is refused


def remove(*names: str) -> Callable[[Path], None]:
    """Remove folders of a tree."""

    def change(tree: Path) -> None:
        for name in names:
            shutil.rmtree(tree / name)

    return change


def draw(name: str) -> Callable[[Path], None]:
    """Add an image to a tree."""

    def change(tree: Path) -> None:
        (tree / name).parent.mkdir(exist_ok=True)
        picture(0).save(tree / name)

    return change


def without(split: str, pattern: str) -> Callable[[Path], None]:
    """Remove the images of a split."""

    def change(tree: Path) -> None:
        for path in tree.glob(pattern):
            if split_of(path.stem) == split:
                path.unlink()

    return change


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (remove(*(f"scan/{name}" for name in CLASSES)), "no image in '.*scan'"),
        (remove("sketch/dog"), "class 'dog' is missing in the domain 'sketch'"),
        (lambda tree: (tree / "photo" / "cat" / "more").mkdir(), "no image in '.*photo/cat/more'"),
        (draw("photo/cat/more/one.png"), "holds '.*photo/cat/cat-.*' and '.*photo/cat/more/one.png'"),
        (draw("photo/one.png"), "holds '.*photo/cat/.*' and '.*photo/one.png'"),
        (lambda tree: (tree / "photo/cat/again").symlink_to(tree), "no image in '.*photo/cat/again'"),
        (without("train", "photo/cat/*"), "class 'cat' has no image to train on in photo"),
        (without("test", "sketch/*/*"), "no image for ood/sketch"),
    ],
    ids=lambda value: None if callable(value) else str(value)[:40],
)
def test_a_tree_that_would_mean_something_else_is_refused(change, says: str, tree: Path) -> None:
    change(tree)
    with pytest.raises(UserError, match=says) as refused:
        catalog_of(tree).open(PETS, Folder())
    assert refused.value.hint


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ({"class_names": {"guinea_pig": "Dog"}}, "both called 'Dog'"),
        ({"class_names": {"../cat": "cat"}}, "no class '../cat'"),
        ({"class_names": {"cat": " "}}, "no words for the class 'cat'"),
        ({"prompts": {"scan": "a scan"}}, r"'a scan' of the domain 'scan' must have exactly one \{\}"),
        ({"prompts": {"scan": "a {} of a {}"}}, r"exactly one \{\}"),
        ({"prompts": {"scan": "a {0} of a {}"}}, r"exactly one \{\}"),
        ({"prompts": {"scam": "a {}"}}, "no domain 'scam'"),
    ],
)
def test_words_that_cannot_be_are_refused(words: dict[str, dict[str, str]], says: str, original: Path) -> None:
    with pytest.raises(UserError, match=says) as refused:
        named_task(PETS, original, **words)
    assert refused.value.hint


# an image that cannot be read


def test_a_truncated_image_is_named(tree: Path, store: Store, execution: Execution) -> None:
    keep_tasks(store, [named_task(PETS, tree)])
    task = store.catalog.open(PETS, Folder())
    assert task.digests["attested"] == "yes"
    victim = tree / task.train.names[0]
    victim.write_bytes(victim.read_bytes()[:300])
    weights = ("icons-resnet", "icons-3")
    cell = specify(PETS, "ft", {"lr": 1e-4}, 0, Training(1), None, *weights, catalog=store.catalog)
    with pytest.raises(UserError, match=victim.name):
        run_cell(cell, store, execution)


def test_images_that_a_task_needs_are_decoded_once_before_a_sweep(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = read(tree)
    for path in tree.rglob("*"):
        os.utime(path, (1e9, 1e9))
    catalog, log, decoded = catalog_of(tree), [], []
    monkeypatch.setattr("carft.data.indexing.decode_pixels", lambda path: decoded.append(path) or decode_pixels(path))
    catalog.require_readable(PETS, Folder(), log.append, {})
    assert set(decoded) == set(found.paths)
    catalog.require_readable(PETS, Folder(), log.append, {})
    assert len(decoded) == len(set(decoded)) and len(log) == 1
    needed = found.part("sketch", "test").paths[0]
    needed.write_bytes(needed.read_bytes()[:100])
    with pytest.raises(UserError, match="cannot be decoded") as refused:
        catalog.require_readable(PETS, Folder(), log.append, {})
    assert needed.relative_to(tree).as_posix() in refused.value.message
    decoded.clear()
    monkeypatch.setattr("carft.data.checking.ALL", 20)
    picture(0).save(needed)
    catalog.require_readable(PETS, Folder(), log.append, {})
    assert not decoded and "data check finds" in log[-1]


# the whole way


def test_a_picture_is_the_image_of_its_name_as_long_as_the_folder_is_the_same(tree: Path, tmp_path: Path) -> None:
    catalog = catalog_of(tree)
    card = catalog.card(PETS)
    assert compared_pictures(PETS, None, catalog) == 2 * len(card.sets)
    (tmp_path / "secret.png").write_bytes(next(tree.rglob("*.png")).read_bytes())
    with pytest.raises(UserError, match="has no image called"):
        catalog.own.picture(card, "test", "../secret.png")
    name = next(tree.rglob("*.png"))
    picture(7).save(name.with_name("another.png"))
    with pytest.raises(UserError, match="changed"):
        catalog.own.picture(card, "test", name.relative_to(tree).as_posix())


def test_classes_that_differ_only_in_case_are_named(tree: Path) -> None:
    for domain in DOMAINS:
        shutil.copytree(tree / domain / "cat", tree / domain / "Cat")
    assert "The classes 'Cat' and 'cat' differ only in case." in read(tree).notes
