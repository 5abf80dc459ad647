"""Departures from the protocol: what the journal of a folder plans and tells, against what the folder holds.

A folder without a journal was made by an earlier version. Its conduct is checked by the commit that made it.
"""

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from carft.config.cell import Cell, id_form
from carft.config.registry import Range
from carft.config.study import SEED_BLOCK, SOBOL, trial_parameters
from carft.core.errors import UserError
from carft.core.files import file_digest
from carft.data.icons.world import BUILT_IN_WEIGHTS
from carft.store.journal import Journal, Line, StudyPlan
from carft.store.records import Record, Store
from carft.store.study import StudyFile
from reports.evidence.inputs import input_findings

#: what tables and page say of a row that rests on a study that left the protocol
DEPARTED = "protocol not kept"
#: departures of trials that the words on a study name
NAMED = 5
ROUNDING = 1e-9


def unchecked(error: Exception) -> str:
    """That something could not be checked, and why."""
    why = error.message if isinstance(error, UserError) else f"{type(error).__name__}: {error}"
    return f"cannot be checked: {why}"


@dataclass
class ProtocolCheck:
    """A folder, and every study that has a winner, against the journal."""

    store: Store
    records: Mapping[str, Record]
    studies: Sequence[StudyFile]

    @cached_property
    def journal(self) -> Journal:
        """The journal of the folder; without lines in a folder of an earlier version."""
        return self.store.journal()

    @cached_property
    def departures(self) -> Mapping[str, Sequence[str]]:
        """Study -> its departures, each once; those of no study that is here under the empty name."""
        by_study: dict[str, list[str]] = {}
        for studies, words in self._each_departure():
            for study in studies or [""]:
                by_study.setdefault(study, []).append(words)
        return {study: list(dict.fromkeys(words)) for study, words in by_study.items()}

    @cached_property
    def late(self) -> set[str]:
        """Studies of which a trial ended after a test set of their question had been opened."""
        return {study.id for study in self._searched if self._is_late(study)}

    @cached_property
    def code(self) -> Mapping[str, set[str]]:
        """Cell -> digests of the code that ran it."""
        return {cell: {line.code for line in lines} for cell, lines in self._finished.items()}

    @property
    def files(self) -> Mapping[str, set[str]]:
        """File of a finished cell, such as ``cells/<id>/record.json`` -> every sha256 of it in the journal."""
        return {
            f"cells/{cell}/{name}": digests
            for cell in self.store.ids()
            if self._finished[cell]
            for name, digests in _digests([*self._finished[cell], *self._opened[cell]]).items()
        }

    def _each_departure(self) -> Iterator[tuple[list[str], str]]:
        """(studies that it stands against, departure)."""
        if not self.journal.lines:
            if any(record.in_journal for record in self.records.values()):
                yield [], "the records name a journal, which is missing"
            return
        yield from (([], words) for words in self.journal.problems)
        yield from self._of_cells()
        yield from self._missing_studies()
        for study in self._searched:
            try:
                yield from (([study.id], words) for words in self._of_study(study))
            except Exception as error:  # a tampered file may raise anything, and ends no other study's check
                yield [study.id], unchecked(error)

    @cached_property
    def _searched(self) -> list[StudyFile]:
        """The studies whose search is over, but for those that were in the folder before it had a journal."""
        return [s for s in self.studies if s.winner and not {*s.confirm, s.winner} <= self._earlier.keys()]

    @cached_property
    def _earlier(self) -> dict[str, str]:
        """Cell -> sha256 of its record, of cells that were in the folder before it had a journal."""
        return {cell: digest for line in self.journal.lines.values() for cell, digest in line.found.items()}

    @cached_property
    def _finished(self) -> dict[str, list[Line]]:
        """Cell -> the lines that tell that it finished, of records that were not superseded; empty for other cells."""
        return self._lines("finished")

    @cached_property
    def _opened(self) -> dict[str, list[Line]]:
        """Cell -> the lines that tell of its openings, of records that were not superseded; empty for other cells."""
        return self._lines("opened")

    def _lines(self, kind: str) -> dict[str, list[Line]]:
        lines: dict[str, list[Line]] = defaultdict(list)
        for line in self.journal.of(kind, "superseded"):
            lines[line.cell] = [*lines[line.cell], line] if line.kind == kind else []
        return lines

    @cached_property
    def _plans(self) -> dict[str, StudyPlan]:
        """Study -> its largest plan, the first of equal ones."""
        plans = (plan for line in self.journal.of("planned") for plan in line.studies)
        ordered = sorted(plans, key=lambda plan: (plan.trials, len(plan.seeds)), reverse=True)
        return {plan.study: plan for plan in reversed(ordered)}

    def _owners(self, cell: str) -> list[str]:
        """The studies that a cell stands against: those that name it, else all of its task and method."""
        about = self.records[cell].cell if cell in self.records else None
        line = next(iter(self._finished[cell][-1:]), None)
        if parents := about.parents if about else line.made_of if line else ():
            return list(dict.fromkeys(owner for parent in parents for owner in self._owners(parent)))
        if named := self._naming.get(cell):
            return named
        told = about or line
        return [s.id for s in self.studies if told and (s.task, s.method) == (told.task, told.method)]

    @cached_property
    def _naming(self) -> dict[str, list[str]]:
        naming: dict[str, list[str]] = defaultdict(list)
        for study in self.studies:
            for cell in {*study.confirm, *study.grid, *(trial.cell for trial in study.trials)}:
                naming[cell].append(study.id)
        return dict(naming)

    def _of_cells(self) -> Iterator[tuple[list[str], str]]:
        """(studies that it stands against, departure) of every cell that is not what the journal tells."""
        done = set(self.store.ids())
        told = {cell for lines in (self._finished, self._opened) for cell in lines if lines[cell]}
        for cell in sorted(told | done):
            for words in self._of_cell(cell, cell in done):
                yield self._owners(cell), words
        for finding in input_findings(self.store, self.records):
            yield self._owners(finding.cell), finding.words
        for cell, kind in self._other_inputs():
            yield self._owners(cell), f"cell {cell} was computed with other {kind} than most cells of its task"

    def _of_cell(self, cell: str, is_done: bool) -> Iterator[str]:
        lines, openings = self._finished[cell], self._opened[cell]
        if not is_done:
            yield f"cell {cell} {'was opened on test' if openings else 'finished'} and has no record"
            return
        digest = file_digest(self.store.folder(cell) / "record.json")
        if cell in self.records and not lines and self._earlier.get(cell) != digest:
            yield f"the journal does not name cell {cell}"
        elif lines and all(line.files.get("record.json") != digest for line in lines):
            yield f"the record of cell {cell} is not the one that the journal names"
        if replaced := sorted({name for line in lines for name in line.replaced}):
            yield f"cell {cell} ran with replaced code: {', '.join(replaced)}"
        named = _digests(openings)
        there = {f"evaluations/{path.name}": path for path in self.store.evaluation_paths(cell)}
        for name in sorted(name for name in named if name.endswith(".json")):
            if name not in there:
                yield f"cell {cell} was opened and {name} is missing"
        for name, path in there.items() if lines else ():
            if file_digest(path) not in named.get(name, ()):
                yield f"{name} of cell {cell} is not what the journal names"

    def _other_inputs(self) -> Iterator[tuple[str, str]]:
        """(cell, what) of cells with other digests of data or weights than most cells of the same data or weights."""
        groups: dict[tuple[str, ...], dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
        for record in self.records.values():
            digests = dict(record.provenance.get("digests") or {})
            weights, cell = str(digests.pop("weights", "")), record.cell
            digests.pop("attested", None)
            model = id_form(cell.model, cell.pretrained)
            world = cell.data_version if model in BUILT_IN_WEIGHTS else ""  # each built-in world has weights of its own
            groups["weights", *model, world][weights].append(record.id)
            groups["data", cell.task, cell.data_version][str(sorted(digests.items()))].append(record.id)
        for (kind, *_), cells in groups.items():
            *others, _ = sorted(cells.values(), key=len)
            yield from ((cell, kind) for group in others for cell in group)

    def _missing_studies(self) -> Iterator[tuple[list[str], str]]:
        """(studies of the same question, departure) of every study that had a winner and is not here."""
        there = {study.id for study in self.studies}
        for line in self.journal.of("selected"):
            if line.study not in there:
                there.add(line.study)
                same = [s.id for s in self.studies if (s.task, s.method) == (line.task, line.method)]
                yield same, f"study {line.study} of {line.method} on {line.task} had a winner and is not here"

    def _of_study(self, study: StudyFile) -> Iterator[str]:
        winner = self._winner(study)
        if winner is None:
            return
        wrong = list(_wrong_trials(study, winner))
        yield from wrong[:NAMED]  # the others are counted: these words stand beside every number of the study
        if len(wrong) > NAMED:
            yield f"{len(wrong) - NAMED} more departures of its trials"
        plan = self._plans.get(study.id)
        if plan is not None:
            yield from _unplanned(study, winner, plan)
        elif self._plans:
            yield "no plan of the journal names it"
        selected = [line for line in self.journal.of("selected") if line.study == study.id]
        for line in selected:
            if line.trials > len(study.trials):
                yield f"it had {line.trials} trials when cell {line.winner} was selected"
            other = line.trials == len(study.trials) and line.winner != study.winner
            if other and study.extended_from is None and any(self._opened[cell] for cell in line.confirm):
                yield f"cell {line.winner} was its winner when test was opened, and it does not say so"
        if study.extended_from is None and any(line.study == study.id for line in self.journal.of("extended")):
            yield "it was extended after test was seen, and does not say so"
        for cell in self._opened_outside:
            if replace(cell, seed=winner.seed).id == winner.id:
                yield f"cell {cell.id} is the winner with seed {cell.seed}, was opened on test and is no confirm cell"
            elif (
                # a request for fewer trials may confirm another one of its trials, which is none passed over
                replace(cell, seed=winner.seed).id not in {trial.cell for trial in study.trials}
                and study.extended_from is None
                and any(line.by == "sweep" for line in self._opened[cell.id])
                and _asks_same(cell, study, winner)
            ):
                yield f"cell {cell.id} of another winner was opened on test by a sweep, and no study names it"

    def _winner(self, study: StudyFile) -> Cell | None:
        """The winner's cell, from its record or from that of a confirm cell; None where all are gone."""
        if study.winner in self.records:
            return self.records[str(study.winner)].cell
        confirmed = [self.records[c].cell for c in study.confirm if c in self.records]
        return replace(confirmed[0], seed=study.search_seed) if confirmed else None

    @cached_property
    def _opened_outside(self) -> list[Cell]:
        """Trained cells that were opened on a held-out set, and that no study names."""
        cells = [self.records[cell].cell for cell, lines in self._opened.items() if lines and cell in self.records]
        return [c for c in cells if c.hyperparameters and not c.parents and c.id not in self._naming]

    def _is_late(self, study: StudyFile) -> bool:
        """Whether a trial of a study ended after a held-out set of its question had been opened."""
        winner = self._winner(study)
        selected = {c for line in self.journal.of("selected") if line.study == study.id for c in line.confirm}
        same = {c.id for c in self._opened_outside if winner is not None and _asks_same(c, study, winner)}
        first = min((line.when for c in {*study.confirm, *selected, *same} for line in self._opened[c]), default="")
        ends = (self._finished[trial.cell][0].when for trial in study.trials if self._finished[trial.cell])
        return bool(first) and any(end > first for end in ends)

    @property
    def marks(self) -> Iterator[str]:
        """What is no departure by itself: several versions of the code, and plugins."""
        lines = [line for lines in self._finished.values() for line in lines]
        versions = Counter(line.code for line in lines)
        if len(versions) > 1:
            listed = ", ".join(f"{code} ({counted} cells)" for code, counted in sorted(versions.items()))
            yield f"Cells ran with {len(versions)} versions of the code: {listed}."
        plugins = Counter((file, digest) for line in lines for file, digest in line.plugins.items())
        for (file, digest), counted in sorted(plugins.items()):
            yield f"{counted} cells ran in a process that had the plugin {file} (digest {digest})."


def _digests(lines: Iterable[Line]) -> dict[str, set[str]]:
    """File -> its digests in some lines."""
    digests: dict[str, set[str]] = defaultdict(set)
    for line in lines:
        for name, digest in line.files.items():
            digests[name].add(digest)
    return digests


def _unplanned(study: StudyFile, winner: Cell, plan: StudyPlan) -> Iterator[str]:
    """Where trials and confirm cells are not those of the plan."""
    if len(study.trials) != plan.trials:
        yield f"it has {len(study.trials)} trials; the journal plans {plan.trials}"
    planned = {replace(winner, seed=seed).id: seed for seed in plan.seeds}
    missing = [seed for cell, seed in planned.items() if cell not in study.confirm]
    if missing:
        yield f"its confirm cells lack the planned seeds {', '.join(map(str, missing))}"
    if others := [cell for cell in study.confirm if cell not in planned]:
        yield f"confirm cells {', '.join(others[:NAMED])} are not the winner with a planned seed"


def _asks_same(cell: Cell, study: StudyFile, winner: Cell) -> bool:
    """Whether a cell equals the trials of a study but for hyperparameters and seed, with a seed of its search."""
    if not (cell.seed == study.search_seed or cell.seed // SEED_BLOCK == study.search - 1):
        return False

    def id_but_for_tuning(other: Cell) -> str:
        searched = "context_temperature" in study.space
        reading = replace(other.reading, context_temperature=1.0) if searched else other.reading
        return replace(other, hyperparameters={}, reading=reading, seed=0).id

    return cell.method == winner.method and id_but_for_tuning(cell) == id_but_for_tuning(winner)


def trial_cell(winner: Cell, parameters: Mapping[str, float]) -> Cell:
    """The search cell of a study that tries these parameters; some readings search the context temperature too."""
    values = dict(parameters)
    reading = winner.reading
    if "context_temperature" in values:
        reading = replace(reading, context_temperature=values.pop("context_temperature"))
    return replace(winner, hyperparameters=values, reading=reading)


def _wrong_trials(study: StudyFile, winner: Cell) -> Iterator[str]:
    """Trials that are not numbered 0, 1, 2, ..., that are no cells of the study, or that left its ranges."""
    numbers = [trial.number for trial in study.trials]
    if numbers != list(range(len(numbers))):
        more = ", ..." if len(numbers) > NAMED else ""
        yield f"its trials are numbered {', '.join(map(str, numbers[:NAMED]))}{more}"
    ranges = {name: Range(low, high, first_guess) for name, (low, high, first_guess) in study.space.items()}
    for trial in study.trials:
        if (given := trial_cell(winner, trial.parameters).id) != trial.cell:
            yield f"trial {trial.number} lists cell {trial.cell}, but its parameters give cell {given}"
        in_sequence = study.sampler == SOBOL and trial.number < len(numbers)
        point = trial_parameters(study.search_seed, trial.number, ranges) if in_sequence else {}
        for name, (low, high, first) in study.space.items():
            value = trial.parameters.get(name, math.nan)
            wanted = (first, first) if trial.number == 0 else (low, high)
            if not wanted[0] * (1 - ROUNDING) <= value <= wanted[1] * (1 + ROUNDING):
                yield f"trial {trial.number} tried {name} {value:g}, which its range does not give"
            elif point and not math.isclose(value, point[name], rel_tol=ROUNDING):
                yield f"trial {trial.number} tried {name} {value:g}; the sequence of its search gives {point[name]:g}"
