"""Departures from the protocol: what the journal of a folder plans and tells, against what the folder holds.

The plan decides what is wanted; study.json and the files beside the records repeat it, and are compared with it. A
folder without a journal was made by an earlier version. Its conduct is checked by the commit that made it.
"""

from collections import Counter, defaultdict
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import chain

from carft.catalog.catalog import Catalog
from carft.config.cell import Cell, Reading, id_form, stable_hash
from carft.core.errors import UserError
from carft.data.icons.world import BUILT_IN_WEIGHTS
from carft.protocol.seeds import SEED_BLOCK
from carft.store.journal import FORMAT, Journal, Line, StudyPlan
from carft.store.record_files import Record
from carft.store.records import Store
from carft.store.stored_catalog import METHODS, chosen_suites, stored_digests
from carft.store.study_file import StudyFile
from reports.evidence.cells import CellLines
from reports.evidence.findings import Finding, FoundBy, What
from reports.evidence.inputs import first_losses, input_findings
from reports.evidence.study_check import families_of, identity_findings, plan_findings, trial_findings, winner_findings

#: what tables and page say of a row that rests on a study that left the protocol
DEPARTED = "protocol not kept"
#: departures of trials that the words on a study name
NAMED = 5


def why_unchecked(error: Exception) -> str:
    """Why something could not be checked."""
    return error.message if isinstance(error, UserError) else f"{type(error).__name__}: {error}"


#: (the check that names it, studies that it stands against, the finding)
Found = tuple[FoundBy, Sequence[str], Finding]


@dataclass
class ProtocolCheck:
    """A folder, and every study that has a winner, against the journal."""

    store: Store
    records: Mapping[str, Record]
    studies: Sequence[StudyFile]
    catalog: Catalog
    """Knows the tasks, with what the folder holds of them."""

    @cached_property
    def journal(self) -> Journal:
        """The journal of the folder; without lines in a folder of an earlier version."""
        return self.store.journal()

    @cached_property
    def found(self) -> Sequence[Found]:
        """Every departure, each once."""
        return list({str(found): found for found in self._each()}.values())

    @cached_property
    def departures(self) -> Mapping[str, Sequence[Finding]]:
        """Study -> its departures; those of no study that is here under the empty name.

        What a study says of itself counts where sweeps wrote plans: other folders are of earlier versions.
        """
        by_study: dict[str, list[Finding]] = defaultdict(list)
        for check, studies, finding in self.found:
            if check in (FoundBy.WINNERS, FoundBy.IDENTITY) and not self.plans:
                continue
            for study in studies or [""]:
                by_study[study].append(finding)
        return dict(by_study)

    @cached_property
    def late(self) -> set[str]:
        """Studies of a question of which a test set had been opened before they were planned, or a trial ended."""
        late = set()
        for study in self._searched:
            if self._is_late(study):
                late.add(study.id)
        return late

    @cached_property
    def cells(self) -> CellLines:
        """The files of cells against the journal."""
        confirmed: set[str] = set()
        trials: set[str] = set()
        searched: set[str] = set()
        for study in self.studies:
            confirmed.update(study.confirm)
            trials.update(study.trial_cells)
            if study.winner:
                searched.update(study.trial_cells)
        return CellLines(self.store, self.records, self.journal, trials - confirmed, searched)

    def _each(self) -> Iterator[Found]:
        families = families_of(self.studies)
        for study in self.studies:
            if not study.winner:
                continue
            yield from self._guarded(FoundBy.WINNERS, study, winner_findings(study, self.records, families))
            yield from self._guarded(FoundBy.IDENTITY, study, identity_findings(study, self.records))
        if not self.journal.lines:
            if any(record.in_journal for record in self.records.values()):
                yield FoundBy.CONDUCT, [], Finding.of(What.NO_JOURNAL)
            return
        for words in self.journal.problems:
            yield FoundBy.CONDUCT, [], Finding.of(What.BROKEN_CHAIN, words=words)
        for cell in sorted({*self.cells.finished, *self.cells.opened, *self.cells.done}):
            yield from _tried(self._owners(cell), self._of_cell(cell))
        for found in (self._of_inputs(), self._missing_studies(), self._of_plans()):
            yield from _tried([], found)
        for study in self._searched:
            yield from self._guarded(FoundBy.CONDUCT, study, self._of_study(study))

    def _guarded(self, check: FoundBy, study: StudyFile, findings: Iterable[Finding]) -> Iterator[Found]:
        """The findings on a study."""
        return _tried([study.id], ((check, [study.id], finding) for finding in findings), check)

    @cached_property
    def _searched(self) -> list[StudyFile]:
        """The studies whose search is over, but for those that were in the folder before it had a journal."""
        earlier = self.cells.earlier.keys()
        searched = []
        for study in self.studies:
            is_earlier = {*study.confirm, study.winner} <= earlier
            if study.winner and not is_earlier:
                searched.append(study)
        return searched

    @cached_property
    def plans(self) -> list[Line]:
        """The plans of all sweeps, in order."""
        return self.journal.of("planned")

    @cached_property
    def _planned(self) -> dict[str, list[tuple[Line, StudyPlan]]]:
        """Study -> its plans in order, each with the line that holds it."""
        planned: dict[str, list[tuple[Line, StudyPlan]]] = defaultdict(list)
        for line in self.plans:
            for plan in line.studies:
                planned[plan.study].append((line, plan))
        return dict(planned)

    @cached_property
    def _on_studies(self) -> dict[tuple[str, str], list[Line]]:
        """(kind, study) -> the lines of this kind on the study, in order."""
        lines: dict[tuple[str, str], list[Line]] = defaultdict(list)
        for line in self.journal.of("selected", "extended"):
            lines[line.kind, line.study].append(line)
        return dict(lines)

    def _follows_one(self, line: Line, others: Iterable[Line]) -> bool:
        """Whether a line comes after one of the others."""
        return any(self.journal.follows(line, other) for other in others)

    @cached_property
    def _is_of_this_format(self) -> bool:
        """Whether every plan holds what those of this version hold."""
        return all(line.format >= FORMAT for line in self.plans)

    def absent(self, studies: Iterable[StudyFile], method: str) -> list[StudyPlan]:
        """Studies of a method, each once, that were planned together with these, in one reading, and have no winner."""
        there = {study.id for study in self.studies if study.winner}
        ids = set()
        for study in studies:
            if study.method == method:
                ids.add(study.id)
        absent: dict[str, StudyPlan] = {}
        for line in self.plans:
            if line.format < FORMAT and line.recipe.get("readings"):
                continue  # its plans do not say which reading they are of
            own = [plan.reading for plan in line.studies if plan.study in ids]
            for plan in line.studies:
                if plan.method == method and plan.trials and plan.reading in own and plan.study not in there:
                    absent[plan.study] = plan
        return list(absent.values())

    def _owners(self, cell: str) -> list[str]:
        """The studies that a cell stands against: those that name it, else all of its task and method."""
        about = self.records[cell].cell if cell in self.records else None
        line = next(iter(self.cells.finished.get(cell, [])[-1:]), None)
        told = about or line
        parents: Sequence[str] = ()
        if about:
            parents = about.parents
        elif line:
            parents = line.made_of
        if parents:
            return list(dict.fromkeys(chain.from_iterable(map(self._owners, parents))))
        if cell in self._naming or told is None:
            return self._naming.get(cell, [])
        return self._of_question(told.task, told.method)

    def _of_question(self, task: str, method: str) -> list[str]:
        """The studies of a task and method."""
        return [study.id for study in self.studies if (study.task, study.method) == (task, method)]

    @cached_property
    def _by_id(self) -> dict[str, StudyFile]:
        return {study.id: study for study in self.studies}

    @cached_property
    def _naming(self) -> dict[str, list[str]]:
        naming: dict[str, list[str]] = defaultdict(list)
        for study in self.studies:
            for cell in {*study.confirm, *study.grid, *study.trial_cells}:
                naming[cell].append(study.id)
        return dict(naming)

    def _of_cell(self, cell: str) -> Iterator[Found]:
        """Where the files of a cell are not what the journal tells."""
        for finding in self.cells.of_cell(cell):
            yield FoundBy.FILES if finding.what in OF_FILES else FoundBy.CONDUCT, self._owners(cell), finding

    def _of_inputs(self) -> Iterator[Found]:
        """Every cell that had other inputs, or that began with another loss."""
        for cell, kind in self._other_inputs():
            yield FoundBy.CONDUCT, self._owners(cell), Finding.of(What.OTHER_INPUTS, cell=cell, kind=kind)
        for finding in input_findings(self.store, self.records):
            yield FoundBy.CONDUCT, self._owners(finding.facts["cell"]), finding
        for finding in first_losses(self.store, self.records):
            yield FoundBy.FILES, self._owners(finding.facts["cell"]), finding

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
            for strange in chain.from_iterable(others):
                yield strange, kind

    def _missing_studies(self) -> Iterator[Found]:
        """Every study that had a winner and is not here, against the studies of the same question."""
        there = {study.id for study in self.studies}
        for line in self.journal.of("selected"):
            if line.study not in there:
                there.add(line.study)
                what = {"study": line.study, "method": line.method, "task": line.task}
                yield FoundBy.CONDUCT, self._of_question(line.task, line.method), Finding.of(What.STUDY_GONE, **what)

    def _of_plans(self) -> Iterator[Found]:
        """Where the suites of a task, or files that reports read beside the records, are not those of the plans."""
        by_task: dict[str, list[str]] = defaultdict(list)
        for study in self._searched:
            by_task[study.task].append(study.id)
        for task, studies in by_task.items():
            planned, now = self._planned_suites(task), self._suites_of(task, chosen_suites(self.store))
            if planned is not None and planned != now:
                yield FoundBy.CONDUCT, studies, Finding.of(What.OTHER_SUITES, planned=planned, now=now)
        named: dict[str, list[Line]] = defaultdict(list)
        for line in self.journal.of("planned", "stored"):
            for file in line.stored:
                named[file].append(line)
        there = stored_digests(self.store)
        for file in sorted({*named, *there}):
            what = None
            if not named[file]:
                if self.plans and self._is_of_this_format:
                    what = What.STORED_ADDED
            elif file not in there:
                what = What.STORED_GONE
            elif there[file] not in self._last_digests(file, named[file]):
                what = What.OTHER_STORED
            if what is not None:
                users = self._users_of(file)
                if users:
                    yield FoundBy.CONDUCT, users, Finding.of(what, file=file)

    def _last_digests(self, file: str, lines: Sequence[Line]) -> set[str]:
        """The digests of a stored file in the lines that no other one follows. lines: all that name the file."""
        digests = set()
        for line in lines:
            is_followed = any(self.journal.follows(other, line) for other in lines)
            if not is_followed:
                digests.add(line.stored[file])
        return digests

    def _planned_suites(self, task: str) -> list[str] | None:
        """The suites of a task in the last plan of it that was made before one of its cells was opened; None without.

        The first plan counts in any case.
        """
        openings = self._openings_on.get(task, [])
        planned = None
        chosen: list[str] = []
        for line in self.plans:
            asked = line.recipe.get("suites")
            if line.format >= FORMAT:
                chosen = list(line.suites)
            elif isinstance(asked, list):  # an earlier version left out that a recipe chose none
                chosen = list(map(str, asked))
            if not line.recipe or not any(plan.task == task for plan in line.studies):
                continue
            if planned is None or not self._follows_one(line, openings):
                planned = self._suites_of(task, chosen)
        return planned

    def _suites_of(self, task: str, chosen: Sequence[str]) -> list[str]:
        """The suites of a task where these are chosen; one that has none of them keeps all of its own."""
        try:
            return list(self.catalog.with_suites(chosen).card(task).suites)
        except UserError:  # no task of this name is known here
            return list(chosen)

    def _users_of(self, file: str) -> list[str]:
        """The studies that a file of a task, a card or a method serves."""
        folder, _, name = file.removesuffix(".json").partition("/")
        users = []
        for study in self.studies:
            served = study.method if folder == METHODS else stable_hash(study.task)
            if served == name:
                users.append(study.id)
        return users

    def _of_study(self, study: StudyFile) -> Iterator[Finding]:
        winner = self._winner(study)
        if winner is None:
            return
        wrong = list(trial_findings(study, winner))
        yield from wrong[:NAMED]  # the others are counted: these words stand beside every number of the study
        if len(wrong) > NAMED:
            yield Finding.of(What.MORE_TRIALS, count=len(wrong) - NAMED)
        planned = self._planned.get(study.id)
        if planned:
            _, largest = max(planned, key=lambda one: (one[1].trials, len(one[1].seeds)))  # the first of equal ones
            yield from plan_findings(study, winner, largest)
            yield from self._of_its_plans(study, planned)
        elif self._planned:
            yield Finding.of(What.NOT_PLANNED)
        is_extended = study.extended_from is not None
        for line in self._on_studies.get(("selected", study.id), []):
            if line.trials > len(study.trials):
                yield Finding.of(What.TRIALS_SHRANK, trials=line.trials, cell=line.winner)
            other = line.trials == len(study.trials) and line.winner != study.winner
            if other and not is_extended and any(self.cells.opened.get(cell) for cell in line.confirm):
                yield Finding.of(What.WINNER_CHANGED, cell=line.winner)
        if not is_extended and ("extended", study.id) in self._on_studies:
            yield Finding.of(What.EXTENSION_HIDDEN)
        for cell in self._opened_outside:
            with_its_seed = replace(cell, seed=winner.seed).id
            if with_its_seed == winner.id:
                yield Finding.of(What.SEED_OUTSIDE, cell=cell.id, seed=cell.seed)
                continue
            if is_extended or with_its_seed in study.trial_cells:
                continue  # a request for fewer trials may confirm another one of its trials, which is none passed over
            opened_by = {line.by for line in chain.from_iterable(self.cells.opened[cell.id].values())}
            if "sweep" in opened_by and _asks_same(cell, study, winner):
                yield Finding.of(What.WINNER_OUTSIDE, cell=cell.id)

    def _of_its_plans(self, study: StudyFile, planned: Iterable[tuple[Line, StudyPlan]]) -> Iterator[Finding]:
        """What study.json says otherwise than the plans of the study, and trials that none of its lines explains."""
        edges, oracles, formats = [], [], []
        for line, plan in planned:
            if "allow_edges" in line.recipe:
                edges.append(line.recipe["allow_edges"])
            oracles.append(plan.oracle)
            formats.append(line.format)
        if study.allow_edges and edges and not any(edges):
            yield Finding.of(What.EDGES_ALLOWED)
        if study.oracle and not any(oracles):
            yield Finding.of(What.ORACLE)
        if min(formats) >= FORMAT:
            for trial in study.trials:
                if trial.cell not in self.records and trial.cell not in self.cells.failed:
                    yield Finding.of(What.TRIAL_MISSING, trial=trial.number)

    def _winner(self, study: StudyFile) -> Cell | None:
        """The winner's cell, from its record or from that of a confirm cell; None where all are gone."""
        if study.winner in self.records:
            return self.records[str(study.winner)].cell
        for cell in study.confirm:
            if cell in self.records:
                return replace(self.records[cell].cell, seed=study.search_seed)
        return None

    @cached_property
    def _openings(self) -> list[Line]:
        """The openings of trained cells that are here, each cell's first ones, in order."""
        openings = []
        for cell_id, sets in self.cells.opened.items():
            if cell_id in self.records:
                cell = self.records[cell_id].cell
                if cell.hyperparameters and not cell.parents:
                    openings += self.journal.first(chain.from_iterable(sets.values()))
        return openings

    @cached_property
    def _openings_by_cell(self) -> dict[str, list[Line]]:
        openings: dict[str, list[Line]] = defaultdict(list)
        for line in self._openings:
            openings[line.cell].append(line)
        return dict(openings)

    @cached_property
    def _openings_on(self) -> dict[str, list[Line]]:
        """Task -> the openings of its cells."""
        openings: dict[str, list[Line]] = defaultdict(list)
        for line in self._openings:
            openings[self.records[line.cell].cell.task].append(line)
        return dict(openings)

    @cached_property
    def _openings_of(self) -> dict[tuple[str, str], list[Line]]:
        """(task, method) -> the openings of its cells."""
        openings: dict[tuple[str, str], list[Line]] = defaultdict(list)
        for line in self._openings:
            cell = self.records[line.cell].cell
            openings[cell.task, cell.method].append(line)
        return dict(openings)

    @cached_property
    def _opened_outside(self) -> list[Cell]:
        """Trained cells that were opened on a held-out set, and that no study names."""
        outside = {}
        for line in self._openings:
            cell = self.records[line.cell].cell
            if cell.id not in self._naming:
                outside[line.cell] = cell
        return list(outside.values())

    def _is_late(self, study: StudyFile) -> bool:
        """Whether a cell of the study's question was opened before the study was planned, or before a trial ended."""
        winner = self._winner(study)
        if winner is None:
            return False
        own = self._openings_of.get((study.task, study.method), [])
        asked = [line for line in own if self._is_of_question(self.records[line.cell].cell, study, winner)]
        for plan in self.journal.first(line for line, _ in self._planned.get(study.id, [])):
            if self._follows_one(plan, asked):
                return True
        tested = set(study.confirm)
        for line in self._on_studies.get(("selected", study.id), []):
            tested.update(line.confirm)
        for cell in self._opened_outside:
            if _asks_same(cell, study, winner):
                tested.add(cell.id)
        openings: list[Line] = []
        for cell_id in tested:
            openings += self._openings_by_cell.get(cell_id, [])
        for trial in study.trial_cells:
            for end in self.cells.finished.get(trial, [])[:1]:
                if self._follows_one(end, openings):
                    return True
        return False

    def _is_of_question(self, cell: Cell, study: StudyFile, winner: Cell) -> bool:
        """Whether a cell of a study's task and method is of its data, model and reading, with any budget, range and
        seed."""
        if cell.data_version != study.data_version:
            return False
        if id_form(cell.model, cell.pretrained) != id_form(study.model, study.pretrained):
            return False
        owners = self._naming.get(cell.id)
        if owners:
            return any(self._by_id[owner].reading == study.reading for owner in owners)
        return _untuned(cell.reading, study) == winner.reading

    @property
    def notes(self) -> Iterator[Finding]:
        """What is no departure by itself."""
        _ = self.found  # collects what cells lack
        yield from self.cells.interrupted
        found = sorted(self.cells.found)
        if found:
            yield Finding.of(What.FOUND, count=len(found), cells=found)
        if self.cells.not_held:
            yield Finding.of(What.NOT_HELD, count=len(self.cells.not_held))
        for line in self.journal.of("digested"):
            added = list(chain.from_iterable(line.added.values()))
            yield Finding.of(What.DIGESTS_ADDED, count=len(added), when=line.when)
        if self.plans and not self._is_of_this_format:
            yield Finding.of(What.NO_FAILURES)
        versions: Counter[str] = Counter()
        plugins: Counter[tuple[str, str]] = Counter()
        for line in chain.from_iterable(self.cells.finished.values()):
            versions[line.code] += 1
            plugins.update(line.plugins.items())
        if len(versions) > 1:
            yield Finding.of(What.VERSIONS, count=len(versions), versions=dict(sorted(versions.items())))
        for (file, digest), counted in sorted(plugins.items()):
            yield Finding.of(What.PLUGIN, count=counted, file=file, digest=digest)

    def after_head(self, head: str) -> dict[str, Finding]:
        """Cell with a record -> that a head covers no line which tells that it finished, or of one of its openings."""
        covered = self.journal.covered(head)
        known: set[str] = set()
        for digest in covered:
            known.update(self.journal.lines[digest].found)
        after = {}
        for cell in sorted(self.records):
            if cell not in known and not _covers(covered, self.cells.finished.get(cell, [])):
                after[cell] = Finding.of(What.AFTER_HEAD, cell=cell)
                continue
            for name, openings in sorted(self.cells.opened.get(cell, {}).items()):
                if not _covers(covered, openings):
                    after[cell] = Finding.of(What.OPENED_AFTER_HEAD, cell=cell, set=name)
        return after


def _covers(covered: Container[str], lines: Iterable[Line]) -> bool:
    """Whether one of the lines is among those that a head covers."""
    return any(line.digest in covered for line in lines)


def _tried(studies: Sequence[str], found: Iterable[Found], check: FoundBy = FoundBy.CONDUCT) -> Iterator[Found]:
    """What a check finds. A tampered file may raise anything, and ends no other check."""
    try:
        yield from found
    except Exception as error:
        yield check, studies, Finding.of(What.UNCHECKED, why=why_unchecked(error))


#: findings on files of cells, which `report verify` names in a check of their own
OF_FILES = {What.OTHER_FILE, What.FILE_GONE, What.LINK, What.OTHER_PREDICTIONS}


def _untuned(reading: Reading, study: StudyFile) -> Reading:
    """A reading without the context temperature where a study searches it."""
    if "context_temperature" in study.space:
        return replace(reading, context_temperature=1.0)
    return reading


def _asks_same(cell: Cell, study: StudyFile, winner: Cell) -> bool:
    """Whether a cell equals the trials of a study but for hyperparameters and seed, with a seed of its search."""
    if not (cell.seed == study.search_seed or cell.seed // SEED_BLOCK == study.search - 1):
        return False

    def id_but_for_tuning(other: Cell) -> str:
        return replace(other, hyperparameters={}, reading=_untuned(other.reading, study), seed=0).id

    return cell.method == winner.method and id_but_for_tuning(cell) == id_but_for_tuning(winner)
