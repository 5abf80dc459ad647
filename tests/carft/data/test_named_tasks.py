"""Tasks on your own data: names, identity, and tasks files."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from carft.catalog.catalog import BUILT_IN
from carft.catalog.resolve import specify
from carft.core.errors import UserError
from carft.data.folder.named import NamedTask, tasks_in
from carft.store.records import Store
from carft.store.stored_catalog import named_tasks
from tests.support.folder import draw_pets, keep_tasks, named_task, write_tasks
from tests.support.planted import Plan, plant

FT = {"lr": 1e-4}


@pytest.fixture(scope="module")
def pets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The example tree: photo, scan, sketch. Do not change it."""
    return draw_pets(tmp_path_factory.mktemp("own"))


def cell_id(task: NamedTask) -> str:
    return specify(task.name, "ft", FT, catalog=BUILT_IN.with_tasks([task])).id


def test_a_domain_with_a_slash_is_refused(tmp_path: Path) -> None:
    """Its evaluation would be the file of another domain, and its accuracy in no mean."""
    root = draw_pets(tmp_path)
    lines = ["path,class,domain"]
    for path in sorted(root.glob("*/*/*")):
        lines.append(f"{path.relative_to(root)},{path.parent.name},{path.parent.parent.name}/1")
    (root / "table.csv").write_text("\n".join(lines))
    with pytest.raises(UserError, match="has a slash in its name"):
        named_task("pets", root / "table.csv")


def test_name_and_content_identify_a_task_and_its_place_does_not(pets: Path, tmp_path: Path) -> None:
    first = cell_id(named_task("zoo/cats", pets))
    shutil.copytree(pets, tmp_path / "elsewhere")
    assert cell_id(named_task("zoo/cats", tmp_path / "elsewhere")) == first
    others = [
        named_task("zoo/dogs", pets),
        named_task("zoo/cats", pets, id_domains=["scan"]),
        named_task("zoo/cats", pets, class_names={"cat": "tabby"}),
        named_task("zoo/cats", pets, prompts={"scan": "a scanned {}."}),
    ]
    assert len({first, *map(cell_id, others)}) == 5
    next((tmp_path / "elsewhere" / "photo" / "cat").iterdir()).unlink()
    assert cell_id(named_task("zoo/cats", tmp_path / "elsewhere")) != first


def test_a_name_of_the_catalog_is_refused() -> None:
    for name, taken in (("icons-3/mine", "icons-3"), ("pets", "pets")):
        with pytest.raises(UserError, match=f"'{taken}' is a name of the catalog"):
            BUILT_IN.with_tasks([NamedTask(name, "v", ("a",), ("b",), ("c", "d"), ("{}", "{}"))])


def test_a_results_folder_keeps_its_tasks_and_their_places_apart(pets: Path, store: Store) -> None:
    tasks = tasks_in(write_tasks(pets.parent, {"name": "zoo", "path": "pets", "leave_one_out": True}))
    keep_tasks(store, tasks)
    assert named_tasks(store) == tasks == list(store.catalog.own.named.values())
    assert not any(str(pets.parent) in path.read_text() for path in (store.root / "tasks").iterdir())
    (store.root / "folders.json").unlink()
    assert named_tasks(store) == [replace(task, folder="", file="") for task in tasks]


def test_other_data_under_the_name_of_a_task_with_results_are_refused_and_moved_data_are_not(
    pets: Path, store: Store, tmp_path: Path
) -> None:
    keep_tasks(store, [task := named_task("zoo/cats", pets)])
    plant(store, [task.name], Plan(top1={"zeroshot": 0.5, "ft": 0.6}, context={"zeroshot": 0.9, "ft": 0.6}))
    shutil.copytree(pets, moved := tmp_path / "moved")
    keep_tasks(store, [named_task("zoo/cats", moved)])
    assert named_tasks(store)[0].folder == str(moved.resolve())
    shutil.copytree(pets, other := tmp_path / "other")
    next(other.glob("photo/*/*")).unlink()
    with pytest.raises(UserError, match="on other data") as refused:
        keep_tasks(store, [named_task("zoo/cats", other)])
    assert "another name, or another --results" in (refused.value.hint or "")
    assert named_tasks(store)[0].folder == str(moved.resolve())


# tasks files


def tasks_file(folder: Path, text: str) -> Path:
    path = folder / "tasks.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_tasks_file_says_what_a_command_line_says_and_more(pets: Path) -> None:
    text = """
tasks:
  - name: zoo/cats
    path: pets
    id_domains: [photo, scan]
    class_names: {guinea_pig: cavy}
    prompts: {sketch: "a pencil drawing of a {}."}
    metric: mean_per_class
    private: true
  - {name: zoo/dogs, path: pets}
"""
    cats, dogs = tasks_in(tasks_file(pets.parent, text))
    (pets.parent / "carft.yaml").write_text(text)
    assert [replace(task, file=cats.file) for task in tasks_in(pets.parent)] == [cats, dogs]
    assert cats.classes == ("cat", "dog", "cavy")
    assert cats.prompts[2] == "a pencil drawing of a {}."
    assert (cats.id_domains, cats.ood_domains) == (("photo", "scan"), ("sketch",))
    assert dogs.name == "zoo/dogs" and dogs.version == named_task("zoo/dogs", pets).version
    assert [(task.metric, task.private) for task in (cats, dogs)] == [("mean_per_class", True), ("top1", False)]


def test_templates_of_a_task_are_those_of_its_class_head_and_of_the_standard_bank(pets: Path, store: Store) -> None:
    templates = ["a photo of a {}.", "a dark photo of a {}.", "a sketch of a {}."]
    path = write_tasks(pets.parent, {"name": "zoo/cats", "path": "pets", "templates": templates})
    (task,) = tasks_in(path)
    keep_tasks(store, [task])
    (kept,) = named_tasks(store)
    card = BUILT_IN.with_tasks([kept]).card("zoo/cats")
    assert card.templates == card.bank("standard") == tuple(templates)
    assert card.contexts == card.bank("domains") == task.prompts
    plain = named_task("zoo/cats", pets)
    assert len(BUILT_IN.with_tasks([plain]).card("zoo/cats").templates) == 80
    assert len({cell_id(plain), cell_id(task), cell_id(named_task("zoo/cats", pets, templates=templates[:2]))}) == 3


def test_the_metric_is_fixed_once_a_search_began(pets: Path, store: Store) -> None:
    plain = named_task("zoo/cats", pets)
    keep_tasks(store, [plain])
    keep_tasks(store, [replace(plain, metric="mean_per_class")])
    plant(store, [plain.name], Plan(top1={"zeroshot": 0.5, "ft": 0.6}, context={"zeroshot": 0.9, "ft": 0.6}))
    with pytest.raises(UserError, match="decided by mean_per_class"):
        keep_tasks(store, [plain])
    assert named_tasks(store)[0].metric == "mean_per_class"


def test_leave_one_out_makes_a_task_of_each_domain_that_differs_in_nothing_else(pets: Path) -> None:
    words = {"prompts": {"scan": "a scanned {}."}, "private": True}
    path = write_tasks(pets.parent, {"name": "zoo", "path": "pets", "leave_one_out": True, **words})
    tasks = tasks_in(path)
    assert [(task.name, task.ood_domains) for task in tasks] == [
        (f"zoo/{domain}", (domain,)) for domain in ("photo", "scan", "sketch")
    ]
    assert tasks[0].id_domains == ("scan", "sketch") and all(task.held_out and task.private for task in tasks)
    assert tasks[2].version == named_task("zoo", pets, ["photo", "scan"], prompts=words["prompts"]).version
    assert tasks_in(path, ["zoo/scan"]) == tasks[1:2] and tasks_in(path, ["zoo"]) == tasks


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("tasks:\n  - name: zoo/a\n    path: pets\n    domains: [x]\n", "line 4: tasks.0.domains: there is no such"),
        ("tasks:\n  - name: a\n    path: pets\n    id_domain: [x]\n", "no such key. Did you mean id_domains"),
        ("task: []\n", "tasks.yaml, line 1: task: there is no such key. Did you mean tasks?"),
        ("tasks:\n  - name: zoo/a\n     path: pets\n", "tasks.yaml, line 3: the tasks file is not YAML"),
        ("tasks:\n  - {name: a, path: pets}\n  - {name: a, path: pets}\n", "two tasks called 'a'"),
        ("tasks:\n  - {name: a, path: pets, class_names: {zebra: z}}\n", "There is no class 'zebra'"),
        ("tasks:\n  - {name: a, path: pets, prompts: {photo: photo}}\n", "exactly one {}"),
        (
            "tasks:\n  - {name: a, path: pets, templates: [a photo]}\n",
            "template 'a photo' must have exactly one {}",
        ),
        ("tasks:\n  - {name: a, path: pets, id_domains: [film]}\n", "There is no domain in"),
        ("tasks:\n  - {name: a, path: pets}\n  - {name: b, path: nowhere}\n", "tasks.yaml, line 3: There is no folder"),
        ("tasks:\n  - {name: /a, path: pets}\n", "tasks.yaml, line 2: '/a' cannot be the name"),
        (f"tasks:\n  - {{name: {'x' * 61}, path: pets}}\n", "at most 60"),
        ("tasks:\n  - {name: a, path: ~nobody-here/a}\n", "'~nobody-here/a' is no path of this machine"),
        ("tasks:\n  - {name: a, path: pets, leave_one_out: true, ood_domains: [scan]}\n", "chooses the domains itself"),
        (
            "tasks:\n  - {name: a, path: pets, leave_one_out: true}\n  - {name: a/scan, path: pets}\n",
            "two tasks called",
        ),
        ("tasks:\n  - {name: a, path: pets, metric: f1}\n", "tasks.yaml, line 2: tasks.0.metric"),
    ],
)
def test_a_mistake_in_a_tasks_file_is_named_with_its_place(text: str, says: str, pets: Path) -> None:
    with pytest.raises(UserError) as refused:
        tasks_in(tasks_file(pets.parent, text))
    assert says in str(refused.value)
