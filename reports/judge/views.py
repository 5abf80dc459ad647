"""From a results folder to evidence: the scopes, and which of several studies of one question is reported.

Winners of two searches may be compared when the searches differ in the method alone
(:func:`reports.judge.protocol.unequal_settings`). Both sides
need the same range of every hyperparameter that the registry calls by one name for both, the same search seed, sampler,
selection, precision and training recipe. Of several independent searches, search k of one side is compared with search
k of the other. The number of trials is compared where it is counted, over the trials that ended.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from carft.config.registry import MethodCard
from carft.core.errors import UserError, typed_sweep
from carft.store.study_file import StudyFile
from reports.judge.conduct import Conduct
from reports.judge.entry import CAR_FT, FT
from reports.judge.evidence import Choices, Evidence, protocol_settings, which_search
from reports.judge.protocol import DEPARTED, SETTINGS, departures, unequal_settings
from reports.note import Note
from reports.read.cells import reading_choices
from reports.read.folder import Folder
from reports.read.scopes import Scope


def evidence_of(folder: Folder) -> Evidence:
    """What a results folder says on its first scope; ``UserError`` when it holds no study. Further scopes are in
    ``others``.

    Paper scale comes before miniature, and current data before old; then the scope in which FT and CAR-FT have the most
    searches with a winner.

    One training recipe is reported per scope, that of the largest budget with a winner; of several studies of one
    (task, method) under it one that is comparable with the largest, then the one with most trials. All others are
    named.
    """
    notes = list(folder.notes)
    by_scope: dict[Scope, list[StudyFile]] = {}
    for study in folder.studies:
        try:
            by_scope.setdefault(folder.scope_of(study), []).append(study)
        except UserError as error:
            notes.append(Note("unknown task", error.message, where=study.task))
    if not by_scope:
        words = f"Run a sweep first: {typed_sweep(folder.store.name)}"
        raise UserError(f"'{folder.store.name}' holds no study.", words)
    scopes = sorted(by_scope, key=lambda s: (s.scale != "paper", bool(s.stale), -_searches(by_scope[s]), s.sort_key))
    conduct = Conduct(folder)
    broken = departures(conduct)
    first, *others = (_view(conduct, broken, scope, by_scope[scope]) for scope in scopes)
    for view in (first, *others):
        if view.scope.stale:
            words = f"Studies of {view.name} ran on other data than the catalog's; they stand apart."
            notes.append(Note("other data", words, where=view.name))
    named_studies = {s.id: f"{s.method} on {s.task}{which_search(s)}" for s in folder.studies}
    for name, of_study in broken.items():
        where = named_studies.get(name, "of no study here")
        notes.append(Note(DEPARTED, "; ".join(note.text for note in of_study), where=where))
    return replace(first, others=others, notes=notes)


def _searches(studies: Sequence[StudyFile]) -> int:
    """The number of searches in which FT has winners, or CAR-FT, whichever is smaller."""
    searches: dict[str, set[int]] = {FT.method: set(), CAR_FT.method: set()}
    for study in studies:
        if study.winner and study.method in searches:
            searches[study.method].add(study.search)
    return min(map(len, searches.values()))


def choices(study: StudyFile) -> Choices:
    """The factors of a study's reading that differ from the default reading, the crop among them."""
    return tuple(reading_choices(study.reading, study.training.crop).items())


def _view(
    conduct: Conduct, broken: Mapping[str, Sequence[Note]], scope: Scope, studies: Sequence[StudyFile]
) -> Evidence:
    """The view of a scope. broken: as of :class:`Evidence`."""
    folder = conduct.folder
    methods = folder.catalog.methods
    studies = [study for study in studies if not study.grid] or studies
    protocols = Counter(map(_protocol, studies))
    # of equally large ones, one that most others can be compared with
    by_size = sorted(studies, key=lambda study: (*_size(study), protocols[_protocol(study)]))
    largest = _reference(by_size, methods)
    alike = Counter(map(_version, studies))

    def place(study: StudyFile) -> tuple[Any, ...]:
        """Of two searches of one question the one that is comparable with the largest of the scope comes last, then the
        larger one, then that of the method's last version here, then that which most tasks have."""
        version = _version(study)
        is_last = study.plugin == folder.catalog.source_of(study.method, study.task)
        last = (is_last, alike[version], version)
        return (bool(study.winner), not any(unequal_settings(study, largest, methods)), *_size(study), *last)

    ordered = sorted(studies, key=place)
    by_reading: dict[Choices, list[StudyFile]] = {}
    for study in ordered:
        by_reading.setdefault(choices(study), []).append(study)
    main = () if () in by_reading else choices(ordered[-1])
    budget = _budget(_reference(by_reading[main], methods))
    kept: dict[Choices, list[StudyFile]] = {}
    dropped: list[StudyFile] = []
    for reading, found in by_reading.items():
        best: dict[tuple[str, str, int], StudyFile] = {}
        for study in found:
            key = (study.task, study.method, study.search)
            own = methods[study.method].own_training
            if {**_budget(study), **own} != {**budget, **own}:
                dropped.append(study)
                continue
            if key in best:
                dropped.append(best[key])
            best[key] = study
        order = list(methods)
        kept[reading] = sorted(best.values(), key=lambda s: (s.task, order.index(s.method), s.search))
    return Evidence(folder, conduct, broken, scope, folder.scope_names[scope], kept[main], dropped, kept)


def _reference(studies: Sequence[StudyFile], methods: Mapping[str, MethodCard]) -> StudyFile:
    """The last study whose method fixes no training settings of its own, else the last."""
    for study in reversed(studies):
        if not methods[study.method].own_training:
            return study
    return studies[-1]


def _budget(study: StudyFile) -> dict[str, Any]:
    """The training recipe without what a reading may change, and what else a study shares with those beside it."""
    recipe = study.training.model_dump(exclude={"crop"})
    return {**recipe, "selected_over": study.selected_over, "protocol": protocol_settings(study)}


def _version(study: StudyFile) -> tuple[str, str, str]:
    """What is the same on all tasks of one sweep: method, its code where it is a plugin, and search ranges."""
    return study.method, study.plugin, str(sorted(study.space.items()))


def _protocol(study: StudyFile) -> tuple[str, ...]:
    """The settings that both sides of a comparison must have alike, besides ranges and recipe."""
    return tuple(str(setting(study)) for setting in SETTINGS.values())


def _size(study: StudyFile) -> tuple[int, ...]:
    """Winners of one task before shared ones, and of two searches that are as large that of this version."""
    size = (study.training.epochs, len(study.trials), len(study.selected_over), len(study.confirm))
    return (bool(study.winner), study.selection == "per-task", *size, bool(study.sampler))
