"""Named tasks on your own data: names, identity, tasks files, and what people are shown of ``folder:`` tasks."""

from __future__ import annotations

import json
import shutil
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from carft.config.catalog import BUILT_IN
from carft.config.resolve import command, specify
from carft.core.errors import UserError
from carft.data.folder.named import NamedTask, folder_task, held_out_tasks, named_task, split_name, tasks_in
from carft.data.folder.naming import LONGEST, break_label, labels
from carft.store.failures import write_failure
from carft.store.records import Store
from carft.store.stored_catalog import named_tasks
from tests.support.folder import draw_pets, keep_tasks
from tests.support.planted import Plan, plant

FT = {"lr": 1e-4}


@pytest.fixture(scope="module")
def pets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The example tree: photo, scan, sketch. Do not change it."""
    root = tmp_path_factory.mktemp("own")
    draw_pets(root)
    return root / "pets"


def cell_id(task: NamedTask) -> str:
    return specify(task.name, "ft", FT, catalog=BUILT_IN.with_tasks([task])).id


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
    (tmp_path / "elsewhere" / "contexts.json").write_text(json.dumps({"photo": "one {}"}))
    assert cell_id(named_task("zoo/cats", tmp_path / "elsewhere")) != first


def test_a_named_task_is_the_folder_s_with_another_name(pets: Path) -> None:
    catalog = BUILT_IN.with_tasks([task := named_task("zoo/cats", pets, ["photo", "scan"])])
    named, plain = catalog.card(task.name), BUILT_IN.card(folder_task(pets, ["photo", "scan"]))
    assert (named.classes, named.suites, named.contexts, named.banks) == (
        plain.classes,
        plain.suites,
        plain.contexts,
        plain.banks,
    )
    assert str(pets.parent) not in repr(named)
    assert catalog.own.located(task.name)[0].root == pets.resolve()


def test_the_command_of_a_cell_leaves_the_place_open(pets: Path) -> None:
    catalog = BUILT_IN.with_tasks([task := named_task("zoo/cats", pets, ["photo", "scan"])])
    again = command(specify(task.name, "ft", FT, catalog=catalog), "again", catalog=catalog)
    assert "--task zoo/cats=PATH --id-domains photo,scan --ood-domains sketch" in again
    assert str(pets) not in again


def test_what_is_published_of_a_folder_task_leaves_its_place_open(pets: Path) -> None:
    cell = specify(folder_task(pets, ["photo"]), "ft", FT)
    assert "'folder:PATH?id=photo&ood=scan,sketch'" in command(cell, "again", published=True, catalog=BUILT_IN)
    assert str(pets) in command(cell, "again", catalog=BUILT_IN)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ("icons/mine=x", "'icons' is a name of the catalog"),
        ("pets=x", "'pets' is a name of the catalog"),
        ("a/b/c=x", "cannot be the name of a task"),
        ("/a=x", "cannot be the name"),
        (f"{'x' * 61}=x", "at most 60"),
        ("zoo/cats=", "has no folder"),
        ("zoo/cats=~nobody-here/cats", "'~nobody-here/cats' is no path of this machine"),
    ],
)
def test_a_name_that_cannot_be_is_refused(given: str, says: str) -> None:
    with pytest.raises(UserError) as refused:
        name, path = split_name(given)
        BUILT_IN.with_tasks([NamedTask(name, "v", ("a",), ("b",), ("c", "d"), ("{}", "{}"), folder=str(path))])
    assert says in str(refused.value)


def test_a_task_whose_folder_is_not_known_here_is_refused_with_the_way_to_name_it() -> None:
    catalog = BUILT_IN.with_tasks([NamedTask("zoo/away", "v", ("a",), ("b",), ("c", "d"), ("{}", "{}"))])
    with pytest.raises(UserError) as refused:
        catalog.own.located("zoo/away")
    assert refused.value.hint == "Name the folder: zoo/away=PATH"


def test_a_results_folder_keeps_its_tasks_and_their_places_apart(pets: Path, store: Store) -> None:
    tasks = held_out_tasks("zoo", pets)
    keep_tasks(store, tasks)
    assert [task.name for task in tasks] == ["zoo/photo", "zoo/scan", "zoo/sketch"]
    assert named_tasks(store) == tasks == list(store.catalog.own.named.values())
    assert not any(str(pets) in path.read_text() for path in (store.root / "tasks").iterdir())
    (store.root / "folders.json").unlink()
    assert [(task.name, task.folder) for task in named_tasks(store)] == [(task.name, "") for task in tasks]


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


def test_a_failure_does_not_say_where_the_folder_lies(pets: Path, store: Store) -> None:
    keep_tasks(store, [task := named_task("zoo/cats", pets)])
    where = f"The image '{pets.resolve()}/photo/cat/1.jpg' cannot be read"
    failure = write_failure(store, specify(task.name, "ft", FT, catalog=store.catalog), "error", where, where)
    assert failure.reason == failure.details == "The image 'zoo/cats/photo/cat/1.jpg' cannot be read"


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
  - {name: dogs, family: zoo, path: pets}
"""
    cats, dogs = tasks_in(tasks_file(pets.parent, text))
    (pets.parent / "carft.yaml").write_text(text)
    assert tasks_in(pets.parent) == [cats, dogs]
    assert cats.classes == ("cat", "dog", "cavy")
    assert cats.prompts[2] == "a pencil drawing of a {}."
    assert (cats.id_domains, cats.ood_domains) == (("photo", "scan"), ("sketch",))
    assert dogs.name == "zoo/dogs" and dogs.version == named_task("zoo/dogs", pets).version
    assert [(task.metric, task.private) for task in (cats, dogs)] == [("mean_per_class", True), ("top1", False)]


def test_metric_and_privacy_are_kept_and_give_the_same_cells(pets: Path, store: Store) -> None:
    plain = named_task("zoo/cats", pets)
    chosen = replace(plain, metric="mean_per_class", private=True)
    assert cell_id(chosen) == cell_id(plain)
    keep_tasks(store, [chosen])
    assert store.catalog.card("zoo/cats").metric == "mean_per_class"
    assert named_tasks(store) == [chosen]


def test_the_metric_is_fixed_once_a_search_began(pets: Path, store: Store) -> None:
    plain = named_task("zoo/cats", pets)
    keep_tasks(store, [plain])
    keep_tasks(store, [replace(plain, metric="mean_per_class")])
    plant(store, [plain.name], Plan(top1={"zeroshot": 0.5, "ft": 0.6}, context={"zeroshot": 0.9, "ft": 0.6}))
    with pytest.raises(UserError, match="decided by mean_per_class"):
        keep_tasks(store, [plain])
    assert named_tasks(store)[0].metric == "mean_per_class"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("tasks:\n  - name: zoo/a\n    path: pets\n    domains: [x]\n", "line 4: tasks.0.domains: there is no such"),
        ("tasks:\n  - name: a\n    path: pets\n    id_domain: [x]\n", "no such key. Did you mean id_domains"),
        ("task: []\n", "tasks.yaml, line 1: task: there is no such key. Did you mean tasks?"),
        ("tasks:\n  - {name: a}\n", "tasks.yaml, line 2: tasks.0.path: this key is missing."),
        ("tasks:\n  - name: 3\n    path: pets\n", "tasks.yaml, line 2: tasks.0.name"),
        ("tasks: []\n", "tasks.yaml, line 1: tasks"),
        ("tasks: [\n", "is not YAML"),
        ("tasks:\n  - name: zoo/a\n     path: pets\n", "tasks.yaml, line 3: the tasks file is not YAML"),
        (
            "tasks:\n  - name: zoo/a\n    path\n    id_domains: [photo]\n",
            "tasks.yaml, line 4: the tasks file is not YAML",
        ),
        ("tasks:\n  - {name: a, path: pets}\n  - {name: a, path: pets}\n", "two tasks called 'a'"),
        ("tasks:\n  - {name: a, path: pets, class_names: {zebra: z}}\n", "names 'zebra', which is no class folder"),
        ("tasks:\n  - {name: a, path: pets, prompts: {photo: photo}}\n", "exactly one {}"),
        ("tasks:\n  - {name: a, path: pets, id_domains: [film]}\n", "has no domain 'film'"),
        ("tasks:\n  - {name: a, path: pets}\n  - {name: b, path: nowhere}\n", "tasks.yaml, line 3: There is no folder"),
        ("tasks:\n  - {name: /a, path: pets}\n", "tasks.yaml, line 2: '/a' cannot be the name"),
        ("tasks:\n  - {name: a, path: pets, metric: f1}\n", "tasks.yaml, line 2: tasks.0.metric"),
        ("tasks:\n  - {name: a, path: pets, private: maybe}\n", "tasks.yaml, line 2: tasks.0.private"),
    ],
)
def test_a_mistake_in_a_tasks_file_is_named_with_its_place(text: str, says: str, pets: Path) -> None:
    with pytest.raises(UserError) as refused:
        tasks_in(tasks_file(pets.parent, text))
    assert says in str(refused.value)


def test_a_long_name_is_broken_between_its_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    name = "skin-lesions/lesions-of-the-face-and-neck"
    assert break_label(name, 56).split("\n") == ["skin-lesions/lesions-of-", "the-face-and-neck"]
    assert break_label(name, 64).split("\n") == ["skin-lesions/", "lesions-of-the-", "face-and-neck"]
    assert break_label(name, 20) == break_label(name, 65) == name and break_label("x" * 60, 60) == "x" * 60


fields = ("family", "id_domains", "ood_domains", "class_names", "prompts", "group", "metric", "private", "colour")
strange = st.text(max_size=5) | st.sampled_from(
    ["pets", "photo", "cat", "..", "~nobody-here", "a\0b", "\ud800", "(", "{}"]
)
anything = st.none() | st.integers() | strange | st.lists(strange, max_size=2) | st.dictionaries(strange, strange)
entries = st.fixed_dictionaries(
    {"name": st.just("a") | strange, "path": st.just("pets") | strange}, optional=dict.fromkeys(fields, anything)
)


@given(st.lists(entries, max_size=2))
def test_any_entries_are_tasks_or_refused_in_words(pets: Path, content: list[dict[str, object]]) -> None:
    path = tasks_file(pets.parent, json.dumps({"tasks": content}))
    with suppress(UserError):
        assert tasks_in(path)


@given(st.text(max_size=200))
def test_any_text_is_a_tasks_file_or_refused_in_words(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    path = tmp_path_factory.getbasetemp() / "fuzzed.yaml"
    path.write_text(text, encoding="utf-8", errors="replace")
    with pytest.raises(UserError):
        tasks_in(path)


# what people are shown


def test_a_folder_is_shown_by_its_name() -> None:
    task = "folder:/data/a place/pets?id=photo&ood=scan"
    assert labels([task, "icons/tools", "zoo/cats"]) == {
        task: "pets",
        "icons/tools": "icons/tools",
        "zoo/cats": "zoo/cats",
    }


def test_folders_and_tasks_that_are_alike_are_told_apart() -> None:
    tasks = [
        "folder:/data/one/pets?id=photo&ood=scan",
        "folder:/data/two/pets?id=photo&ood=scan",
        "folder:/data/two/pets?id=photo&ood=sketch",
        "folder:/x/zoo?id=a&ood=c",
        "folder:/x/zoo?id=b&ood=c",
    ]
    shown = ["one/pets", "two/pets/scan", "two/pets/sketch", "zoo/a to c", "zoo/b to c"]
    assert list(labels(tasks).values()) == shown
    assert labels(["folder:/x/a?id=b&ood=c", "a"])["folder:/x/a?id=b&ood=c"] == "a (2)"


@given(st.lists(st.text(min_size=1, max_size=80), max_size=6))
def test_labels_are_short_and_differ(names: list[str]) -> None:
    tasks = {f"folder:/data/{name.replace(chr(0), '')}?id=a&ood=b" for name in names}
    shown = labels(tasks)
    assert len(set(shown.values())) == len(tasks)
    assert all(len(label) <= LONGEST + 5 or label.startswith("folder:") for label in shown.values())
