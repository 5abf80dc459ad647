"""From a results folder to evidence: the scopes, and which of several studies of one question is reported.

Winners of two searches may be compared when the searches differ in the method alone
(:func:`reports.judge.protocol.unequal_settings`). Both sides
need the same range of every hyperparameter that the registry calls by one name for both, the same search seed, sampler,
selection, precision and training recipe. Of several independent searches, search k of one side is compared with search
k of the other. The number of trials is compared where it is counted, over the trials that ended.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

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

#: method, its code where it is a plugin, and search ranges: the same on all tasks of one sweep
Version = tuple[str, str, str]


class Size(NamedTuple):
    """How much a study rests on; the larger of two compares first field by field."""

    has_winner: bool
    is_of_one_task: bool
    epochs: int
    trials: int
    selected_over: int
    """The number of tasks that its settings were selected over."""
    seeds: int
    names_sampler: bool

    @classmethod
    def of(cls, study: StudyFile) -> Size:
        return cls(
            bool(study.winner),
            study.selection == "per-task",
            study.training.epochs,
            len(study.trials),
            len(study.selected_over),
            len(study.confirm),
            bool(study.sampler),
        )


class Preference(NamedTuple):
    """Which of two searches of one question is reported: the one whose preference is greater, field by field."""

    has_winner: bool
    is_comparable: bool
    """With the largest of the scope."""
    size: Size
    is_last_version: bool
    """Of the method, on this machine."""
    studies_of_version: int
    """In the scope: tasks are reported under one version where there is one."""
    version: Version


def evidence_of(folder: Folder) -> Evidence:
    """What a results folder says on its first scope; ``UserError`` when it holds no study. Further scopes are in
    ``other_scopes``.

    Paper scale comes before miniature, and current data before old; then the scope in which FT and CAR-FT have the most
    searches with a winner.

    One training recipe is reported per scope, that of the largest budget with a winner; of several studies of one
    (task, method) under it the one that :class:`Preference` names. All others are named.
    """
    if not folder.by_scope:
        words = f"Run a sweep first: {typed_sweep(folder.store.name)}"
        raise UserError(f"'{folder.store.name}' holds no study.", words)
    conduct = Conduct(folder)
    broken = departures(conduct)
    first, *others = (_view(conduct, broken, scope) for scope in sorted(folder.by_scope, key=partial(_rank, folder)))
    named_studies = {s.id: f"{s.method} on {s.task}{which_search(s)}" for s in folder.studies}
    notes = list(folder.notes)
    for name, of_study in broken.items():
        where = named_studies.get(name, "of no study here")
        notes.append(Note(DEPARTED, "; ".join(note.text for note in of_study), where=where))
    return replace(first, other_scopes=others, notes=notes)


def _rank(folder: Folder, scope: Scope) -> tuple[Any, ...]:
    """The order of scopes, the first to be reported first."""
    return scope.scale != "paper", bool(scope.stale), -_searches(folder.by_scope[scope]), scope.sort_key


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


def _view(conduct: Conduct, broken: Mapping[str, Sequence[Note]], scope: Scope) -> Evidence:
    """The view of a scope. broken: as of :class:`Evidence`."""
    folder = conduct.folder
    methods = folder.catalog.methods
    in_scope = folder.by_scope[scope]
    studies = [study for study in in_scope if not study.grid] or in_scope
    ordered = _by_preference(folder, studies)
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


def _by_preference(folder: Folder, studies: Sequence[StudyFile]) -> list[StudyFile]:
    """The studies of a scope, the preferred ones last."""
    methods, alike = folder.catalog.methods, Counter(map(_version, studies))
    protocols = Counter(map(_protocol, studies))
    # of equally large ones, one that most others can be compared with
    by_size = sorted(studies, key=lambda study: (Size.of(study), protocols[_protocol(study)]))
    largest = _reference(by_size, methods)

    def preference(study: StudyFile) -> Preference:
        version = _version(study)
        return Preference(
            bool(study.winner),
            not any(unequal_settings(study, largest, methods)),
            Size.of(study),
            study.plugin == folder.catalog.source_of(study.method, study.task),
            alike[version],
            version,
        )

    return sorted(studies, key=preference)


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


def _version(study: StudyFile) -> Version:
    """See :data:`Version`."""
    return study.method, study.plugin, str(sorted(study.space.items()))


def _protocol(study: StudyFile) -> tuple[str, ...]:
    """The settings that both sides of a comparison must have alike, besides ranges and recipe."""
    return tuple(str(setting(study)) for setting in SETTINGS.values())
