"""How the studies of a results folder were conducted: what is on record beside what the journal tells."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from carft import NUMERICS
from carft.config.cell import Cell
from carft.protocol.identity import identity, study_id
from carft.protocol.selection import Candidate
from carft.store.journal import Line, StudyPlan
from carft.store.study_file import StudyFile
from reports.read.folder import Folder


@dataclass(frozen=True)
class Conduct:
    """How the studies of a results folder were conducted: what is on record, and what the journal tells."""

    folder: Folder

    def absent(self, studies: Iterable[StudyFile], method: str) -> list[StudyPlan]:
        """Rule 6: studies of a method, each once, that were planned together with these and have no winner here."""
        there = set()
        for study in self.folder.studies:
            if study.winner:
                there.add(study.id)
        ids = set()
        for study in studies:
            if study.method == method:
                ids.add(study.id)
        absent: dict[str, StudyPlan] = {}
        for line in self.folder.journal.of("planned"):
            own = [plan.reading for plan in line.studies if plan.study in ids]
            for plan in line.studies:
                if plan.method == method and plan.trials and plan.reading in own and plan.study not in there:
                    absent[plan.study] = plan
        return list(absent.values())

    def winner(self, study: StudyFile) -> Cell | None:
        """The winner's cell; None where its record cannot be read."""
        record = self.folder.records.get(study.winner or "")
        return record.cell if record else None

    def candidates(self, study: StudyFile) -> list[Candidate]:
        """The finished trials of a study, as selection sees them; a pruned one cannot win."""
        candidates = []
        for trial in study.trials:
            if trial.cell in self.folder.records and trial.status != "pruned":
                candidates.append(Candidate(trial.cell, trial.number, self.folder.records[trial.cell].metrics))
        return candidates

    def family(self, study: StudyFile) -> Sequence[StudyFile]:
        """The studies that share its winner with a study, this one included."""
        return self._families[_id_of_family(study)] if study.selected_over else [study]

    @cached_property
    def _families(self) -> Mapping[str, list[StudyFile]]:
        families: dict[str, list[StudyFile]] = defaultdict(list)
        for study in self.folder.studies:
            if study.selected_over:
                families[_id_of_family(study)].append(study)
        return dict(families)

    @cached_property
    def openings(self) -> Mapping[str, list[Line]]:
        """Trained cell -> the lines that tell of its openings."""
        openings: dict[str, list[Line]] = defaultdict(list)
        for line in self.folder.journal.of("opened"):
            record = self.folder.records.get(line.cell)
            is_trained = record is not None and record.cell.hyperparameters and not record.cell.parents
            if is_trained and line.numerics == NUMERICS:
                openings[line.cell].append(line)
        return dict(openings)

    @cached_property
    def plans(self) -> Mapping[str, list[StudyPlan]]:
        """Study -> what sweeps planned for it, in order."""
        plans: dict[str, list[StudyPlan]] = defaultdict(list)
        for line in self.folder.journal.of("planned"):
            for plan in line.studies:
                plans[plan.study].append(plan)
        return dict(plans)

    @cached_property
    def selections(self) -> Mapping[str, list[Line]]:
        """Study, or confirm cell -> the lines that tell of its selection."""
        selections: dict[str, list[Line]] = defaultdict(list)
        for line in self.folder.journal.of("selected"):
            for name in (line.study, *line.confirm):
                selections[name].append(line)
        return dict(selections)

    def data_of(self, cells: Iterable[str]) -> set[str]:
        """What these cells were trained and validated on, by the digests in their records."""
        data: set[str] = set()
        for cell in cells:
            if cell in self.folder.records:
                digests = dict(self.folder.records[cell].provenance.get("digests") or {})
                for name in ("weights", "attested"):
                    digests.pop(name, None)
                data.add(str(sorted(digests.items())))
        return data

    def is_before(self, earlier: Iterable[Line], later: Sequence[Line]) -> bool:
        """Whether one of some lines comes before each of others, by the digests that they rest on; not without any."""
        return bool(later) and any(all(self.folder.journal.follows(line, first) for line in later) for first in earlier)

    @cached_property
    def planned_suites(self) -> Mapping[str, list[str]]:
        """Task -> the suites of its last plan that no opening of a cell of the task came before; else of its first."""
        opened: dict[str, list[Line]] = defaultdict(list)
        for cell, lines in self.openings.items():
            opened[self.folder.records[cell].cell.task] += lines
        planned: dict[str, list[str]] = {}
        for line in self.folder.journal.of("planned"):
            for task in {plan.task for plan in line.studies}:
                if line.recipe and (task not in planned or not self.is_before(opened[task], [line])):
                    planned[task] = list(line.suites)
        return planned


def _id_of_family(study: StudyFile) -> str:
    """What the studies of all tasks that share a winner have in common."""
    shared = identity(study.content())
    shared.pop("task")
    shared.pop("data_version", None)
    return study_id(shared)
