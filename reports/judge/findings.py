"""Everything that is decided on a results folder, and every number that a report shows of it."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import pandas as pd

from reports.judge.accuracies import MeanLevel, TaskAccuracy, mean_levels, task_accuracies
from reports.judge.caveats import SealedAccess, caveats
from reports.judge.claims.claim import Verdict, each_once
from reports.judge.claims.readings import ReadingResult, reading_results
from reports.judge.claims.verdicts import verdicts
from reports.judge.differences import Comparison, Difference, comparisons, task_differences
from reports.judge.entry import Entry
from reports.judge.equal_settings import by_scope
from reports.judge.established import Asked, ask_controls, remedies
from reports.judge.evidence import Evidence
from reports.judge.expected import Expected, compared_with_expected
from reports.judge.forgetting import GivenBack
from reports.judge.headlines import TOPICS, Headlines, headlines
from reports.judge.null_checks import NullCheck, null_checks
from reports.judge.views import evidence_of
from reports.judge.ways_to_select import Selected, TrialsGain, gains_with_fewer_trials, trials_of, ways_to_select
from reports.note import Note
from reports.read.folder import Folder


@dataclass(frozen=True)
class ScopeFindings:
    """The numbers of one scope besides its verdicts, each computed once, when it is first asked for."""

    view: Evidence
    """The studies and cells that they rest on."""
    verdicts: Sequence[Verdict]
    """Of the whole folder."""
    checks: Sequence[NullCheck]

    @cached_property
    def headlines(self) -> Sequence[Headlines]:
        """What the sentences at the top of a report state, topic by topic."""
        return [headlines(topic, self.view, self.verdicts, self.checks) for topic in TOPICS]

    @cached_property
    def levels(self) -> Sequence[MeanLevel]:
        return list(mean_levels(self.view))

    @cached_property
    def accuracies(self) -> Sequence[TaskAccuracy]:
        return list(task_accuracies(self.view))

    @cached_property
    def differences(self) -> Sequence[Difference]:
        return list(task_differences(self.view))

    @cached_property
    def comparisons(self) -> Sequence[Comparison]:
        return list(comparisons(self.view))

    @cached_property
    def ways_to_select(self) -> Sequence[Selected]:
        return list(ways_to_select(self.view))

    @cached_property
    def fewer_trials(self) -> Sequence[TrialsGain]:
        return list(gains_with_fewer_trials(trials_of(self.view)))

    @cached_property
    def readings(self) -> Sequence[ReadingResult]:
        return reading_results(self.view)

    @cached_property
    def given_back(self) -> Sequence[GivenBack]:
        found = (GivenBack.of(self.view, entry) for entry in remedies(self.view))
        return list(filter(None, found))


@dataclass(frozen=True)
class Findings:
    """What tables, figures and pages show."""

    evidence: Evidence
    """The first scope, with the others."""
    scopes: Sequence[ScopeFindings]
    """In the order of the evidence."""
    checks: Sequence[NullCheck]
    controls: Sequence[Asked]
    """In every scope."""
    verdicts: Sequence[Verdict]
    """Each with its cautions: page, tables, terminal and JSON all show these."""
    equal_settings: pd.DataFrame
    """As of :func:`reports.judge.equal_settings.by_scope`."""
    expected: Sequence[Expected]
    unsealings: SealedAccess
    """Which cells were evaluated on sealed sets."""
    caveats: Mapping[str, Sequence[str]]
    """Cell -> what a reader must know of a number that rests on it."""
    notes: Sequence[Note]
    """What cannot be used, and what is not reported."""


def judge(folder: Folder) -> Findings:
    """Decide everything; ``UserError`` where the folder holds no study."""
    return findings_on(evidence_of(folder))


def findings_on(evidence: Evidence, checks: Sequence[NullCheck] | None = None) -> Findings:
    """Everything that is decided on evidence. checks: by default its null checks."""
    if checks is None:
        checks = null_checks(evidence)
    controls, access = ask_controls(evidence), SealedAccess(evidence)
    known = caveats(evidence, access)
    found = []
    for verdict in verdicts(evidence, checks):
        found.append(replace(verdict, cautions=cautions_of(known, verdict.cells)))
    return Findings(
        evidence,
        [ScopeFindings(view, found, checks) for view in evidence.views()],
        checks,
        controls,
        found,
        by_scope(evidence),
        list(compared_with_expected(evidence.folder)),
        access,
        known,
        _notes(evidence),
    )


def cautions_of(caveats: Mapping[str, Sequence[str]], cells: Iterable[str]) -> tuple[str, ...]:
    """What a reader must know of a number that rests on these cells; mostly empty."""
    known: list[str] = []
    for cell in cells:
        known += caveats.get(cell, ())
    return each_once(known)


def _notes(evidence: Evidence) -> list[Note]:
    """What cannot be used of a folder, of files that are read on demand too, and what is not reported."""
    _read_all(evidence)
    notes = [*evidence.notes, *evidence.folder.files.notes]
    for view in evidence.views():
        notes += _unreported(view)
    return notes


def _read_all(evidence: Evidence) -> None:
    """Read every file that is reported, so that those that cannot be read are known."""
    for view in evidence.views():
        for task in view.tasks:
            for entry in view.entries():
                view.cells(task, entry)
        for _, cell in view.confirm_cells():
            view.folder.files.history(cell)


def _unreported(view: Evidence) -> Iterator[Note]:
    """Studies of a scope that are not reported, and confirm cells that are missing."""
    for study in view.dropped:
        size = f"{len(study.trials)} trials, {study.training.epochs} epochs"
        why = f"another recipe or way to select, or fewer trials, than what {view.name} reports"
        yield Note("study not used", f"{study.method} on {study.task}, {size}: {why}.", where=study.id)
    for study in view.studies:
        opened = view.cells(study.task, Entry(study.method))
        missing = ", ".join(cell for cell in study.confirm if cell not in opened)
        if missing:
            words = f"{study.method} on {study.task}: {missing} not finished, unsealed or readable."
            yield Note("missing seed", words, where=study.id)
