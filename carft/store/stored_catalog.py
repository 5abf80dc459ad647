"""What a results folder holds of the catalog that made it: named tasks and methods. No torch.

tasks/<hash of the name>.json   what a report needs of a named task on your own data
methods/<name>.json             the card of a method from outside this package
folders.json                    paths on this machine: name of a named task -> its folder and tasks file, sha256 of
                                weights -> their file or model folder; no archive holds it
suites/chosen.json              the suites that tasks are evaluated on, where a sweep chose them

A report needs these and neither the images nor the code. No code is read from a results folder.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import chain
from typing import Any, ClassVar

from pydantic import Field, TypeAdapter

from carft.catalog.catalog import Catalog
from carft.catalog.resolve import SHARED_CONFIG, configuration_digest
from carft.config.cell import stable_hash
from carft.config.registry import NOT_HERE, MethodCard
from carft.core.errors import UserError
from carft.data.folder.named import NamedTask
from carft.store.document import Document, Model
from carft.store.records import Store

CATALOG = TASKS, METHODS = "tasks", "methods"
FOLDERS, CHOSEN = "folders.json", "suites/chosen.json"
#: fields of a method's card that no file holds: only trained methods come from outside, and code is not stored
_OF_CODE = ("kind", "implementation", "combines", "of_several")


class PathsFile(Document):
    """``folders.json``: paths on this machine."""

    hint: ClassVar[str] = "The next sweep writes it again, with the paths that it names."

    folders: dict[str, str] = Field(default_factory=dict)
    """Task -> its folder."""
    files: dict[str, str] = Field(default_factory=dict)
    """Task -> its tasks file."""
    weights: dict[str, str] = Field(default_factory=dict)
    """sha256 of weights -> their file, or the model folder."""
    configurations: dict[str, str] = Field(default_factory=dict)
    """sha256 of weights -> digest of the configuration in their model folder."""


class SuitesFile(Document):
    """``suites/chosen.json``: the suites that a sweep chose."""

    hint: ClassVar[str] = "The suites are those of the last plan in the journal; the next sweep writes it again."

    suites: list[str]
    """Names of the suites."""


def stored_catalog(store: Store, catalog: Catalog) -> Catalog:
    """Return a catalog with what a results folder holds; what the catalog itself knows of a named task stays.

    Files that cannot be read are left out, and ``store.left_out`` names them.
    """
    whole = catalog.with_tasks(named_tasks(store)).with_tasks(catalog.own.named.values())
    whole = whole.with_weights(_paths(store).weights).with_weights(catalog.weights)
    whole = whole.with_suites(catalog.suites or chosen_suites(store))
    methods = dict(catalog.stored_methods)
    for card in _stored(store, METHODS, MethodCard):
        methods[card.name] = replace(card, implementation=NOT_HERE)
    return replace(whole, stored_methods=methods)


def named_tasks(store: Store) -> list[NamedTask]:
    """Return the named tasks of a results folder, by name, without those whose file cannot be read."""
    paths = _paths(store)
    tasks = []
    for task in _stored(store, TASKS, NamedTask):
        folder, file = paths.folders.get(task.name, ""), paths.files.get(task.name, "")
        tasks.append(replace(task, folder=folder, file=file))
    return sorted(tasks, key=lambda task: task.name)


def chosen_suites(store: Store) -> list[str]:
    """Return the suites that tasks of a results folder are evaluated on; empty for all that they have.

    Where their file cannot be read, they are those of the last plan in the journal.
    """
    path = store.root / CHOSEN
    if not path.is_file():
        return []
    file = store.readable(path, SuitesFile)
    if file is not None:
        return file.suites
    plans = store.journal().of("planned")
    return plans[-1].suites if plans else []


def _stored(store: Store, folder: str, kind: type[Model]) -> list[Model]:
    documents = []
    for path in sorted((store.root / folder).glob("*.json")):
        document = store.readable(path, kind)
        if document is not None:
            documents.append(document)
    return documents


def adopt_catalog(store: Store, catalog: Catalog, tasks: Iterable[str], methods: Iterable[str] = ()) -> None:
    """Write what reports on these tasks and methods need of a catalog, and its weights, into a results folder.

    Raises ``UserError`` for a named task that the folder holds with other data, or with studies in another metric; and
    for a model folder whose configuration is no longer that of earlier runs.
    """
    configurations = _configurations(store, catalog.weights)
    named = []
    for name in dict.fromkeys(tasks):
        task = catalog.named(name)
        if task is not None:
            named.append(task)
    _require_same(store, named)
    folders, files = {}, {}
    for task in named:
        store.put(f"{TASKS}/{stable_hash(task.name)}.json", _content(task, "folder", "file"))
        folders[task.name], files[task.name] = task.folder, task.file
    for name in dict.fromkeys((*catalog.of_files, *methods)):
        method = catalog.method(name)
        if method.digest:
            store.put(f"{METHODS}/{method.name}.json", _content(method, *_OF_CODE))
    weights = dict(catalog.weights)
    _add_paths(store, PathsFile(folders=folders, files=files, weights=weights, configurations=configurations))
    suites = list(catalog.suites) or chosen_suites(store)
    if suites:
        store.put(CHOSEN, {"suites": suites})
    store.catalog = stored_catalog(store, catalog)


def merge_paths_and_suites(sources: Sequence[Store], target: Store) -> None:
    """Write the paths that several results folders hold, those of the first before others, and the suites that one of
    them evaluates tasks on. One that chose none evaluates all."""
    for source in reversed(sources):
        _add_paths(target, _paths(source))
    chosen = [chosen_suites(source) for source in sources]
    if all(chosen):
        target.put(CHOSEN, {"suites": list(dict.fromkeys(chain.from_iterable(chosen)))})


def _require_same(store: Store, tasks: Iterable[NamedTask]) -> None:
    """Refuse other data under a name with results: their folder would be forgotten. Refuse another metric of a task
    with studies: it would be chosen after results were seen."""
    new = {task.name: task for task in tasks}
    for old in named_tasks(store):
        task = new.get(old.name, old)
        if (old.version, old.metric) == (task.version, task.metric):
            continue
        studies = [study for study in store.readable_studies() if study.task == old.name]
        versions = {study.data_version for study in studies}
        for record in store.records():
            if record.cell.task == old.name:
                versions.add(record.cell.data_version)
        if old.version != task.version and old.version in versions:
            raise UserError(
                f"'{store.name}' holds results of '{old.name}' on other data, from '{old.folder or 'elsewhere'}'.",
                "Give these data another name, or another --results.",
            )
        if old.metric != task.metric and studies:
            raise UserError(
                f"'{old.name}' is decided by {old.metric} in this results folder, and its search began with that.",
                f"Name the tasks file with metric: {old.metric}, or another results folder.",
            )


def _configurations(store: Store, places: Mapping[str, str]) -> dict[str, str]:
    """Digest of weights -> that of the configuration in their model folder, of those that lie in one here.

    Ids of cells count the weights alone, so the cells of another architecture or normalisation would have the same.
    """
    known, found = _paths(store).configurations, {}
    for weights, place in places.items():
        digest = configuration_digest(place)
        if not digest:
            continue
        if known.get(weights, digest) != digest:
            raise UserError(
                f"'{store.name}' holds results of the weights in '{place}' with another {SHARED_CONFIG}.",
                "Put that configuration back, or use another --results.",
            )
        found[weights] = digest
    return found


def _content(value: Any, *left_out: str) -> dict[str, Any]:
    return TypeAdapter(type(value)).dump_python(value, mode="json", exclude=set(left_out))


def _paths(store: Store) -> PathsFile:
    """The paths that a results folder holds; none where their file cannot be read."""
    path = store.root / FOLDERS
    held = store.readable(path, PathsFile) if path.is_file() else None
    return held or PathsFile()


def _add_paths(store: Store, new: PathsFile) -> None:
    """Write paths that are known beside those that a results folder holds."""
    before = _paths(store).model_dump()
    whole = {}
    for key, paths in new.model_dump().items():
        whole[key] = {**before[key], **{name: path for name, path in paths.items() if path}}
    if store.root / FOLDERS in store.left_out or whole != before:
        store.put(FOLDERS, whole)
