"""Departures from the protocol in the studies of a folder, as far as the folder itself shows them.

These are found: confirm seeds other than the protocol's, tested cells that no study names, openings of test sets by
cells that are gone, trials that were struck out, and trials that ended after a test set of their study had been opened.
It cannot be found that a cell, its log lines and the cells made from it were all deleted.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from carft import NUMERICS
from carft.core.errors import UserError
from carft.spec.cell import Cell
from carft.spec.registry import WISE_ALPHAS, Range
from carft.spec.resolve import interpolation
from carft.spec.sequence import SOBOL, trial_parameters
from carft.spec.study import SEED_BLOCK, confirm_seeds, first_search_seed, identity, search_seed_of, study_id
from carft.store.records import Record, Store
from carft.store.study import StudyFile

#: (id of what all trials of a study have in common, whether they search the context temperature)
Question = tuple[str, bool]

#: what tables and page say of a row that rests on a study that left the protocol
DEPARTED = "protocol not kept"
#: seeds for which it is asked whether a cell that is gone was the winner, or another trial, with that seed
SEEDS_OF_WINNER, SEEDS_OF_TRIALS = 64, 16
#: confirm cells, and departures of trials, that the words on a study name
NAMED = 5
#: trials after the last one of a study of which cells are looked for
NEXT_TRIALS = 64
ROUNDING = 1e-9


@dataclass(frozen=True)
class ProtocolCheck:
    """Departures from the protocol. departures: study -> sentences. elsewhere: those of no study that is here.

    late: studies of which a trial ended after one of their test sets had been opened. undated: trials of opened studies
    without a finishing time, of which that cannot be said. lost: opened interpolations of confirm cells that have no
    record.
    """

    departures: Mapping[str, tuple[str, ...]]
    elsewhere: tuple[str, ...]
    late: frozenset[str]
    undated: int
    lost: frozenset[str]


def check_protocol(
    store: Store,
    records: Mapping[str, Record],
    studies: Sequence[StudyFile],
    evaluated_at: Mapping[str, str],
) -> ProtocolCheck:
    """Check every study that has a winner.

    evaluated_at: opened cell -> first evaluation, "" when not known.
    """
    folder = _Folder(store, records, studies, _openings(store, records, evaluated_at))
    departures = {study.id: _collected(folder.departures(study)) for study in folder.studies}
    elsewhere: list[str] = []
    for cell, owner in folder.hidden.items():
        (departures[owner] if owner else elsewhere).append(f"cell {cell} was opened on test and has no record")
    late, undated = folder.late()
    kept = {study: tuple(dict.fromkeys(words)) for study, words in departures.items() if words}
    return ProtocolCheck(kept, tuple(elsewhere), late, undated, folder.lost)


def _collected(departures: Iterator[str]) -> list[str]:
    """The departures of one study. An error that its files cause is one of them, and ends no other study's check."""
    words = []
    try:
        for departure in departures:
            words.append(departure)
    except Exception as error:  # a tampered file may raise anything
        words.append(unchecked(error))
    return words


def unchecked(error: Exception) -> str:
    """That something could not be checked, and why."""
    why = error.message if isinstance(error, UserError) else f"{type(error).__name__}: {error}"
    return f"cannot be checked: {why}"


@dataclass
class _Folder:
    """opened: cell -> when one of its test sets was first opened under the current NUMERICS, "" when not known."""

    store: Store
    records: Mapping[str, Record]
    every_study: Sequence[StudyFile]
    opened: Mapping[str, str]

    @cached_property
    def studies(self) -> list[StudyFile]:
        """The studies whose search is over."""
        return [study for study in self.every_study if study.winner]

    @cached_property
    def outside(self) -> list[Cell]:
        """Trained cells that no study names."""
        named = {c for s in self.every_study for c in (*s.confirm, *s.grid, *(t.cell for t in s.trials))}
        return [r.cell for r in self.records.values() if not r.cell.parents and r.id not in named]

    @cached_property
    def tested_outside(self) -> list[Cell]:
        """Cells outside all studies that were evaluated on a held-out set, or whose interpolation was."""
        interpolated = {p for c in self.opened if c in self.records for p in self.records[c].cell.parents}
        return [cell for cell in self.outside if cell.id in self.opened or cell.id in interpolated]

    @cached_property
    def winners(self) -> dict[str, Cell]:
        """Study -> its winner's cell."""
        return {study.id: winner for study in self.studies if (winner := self._winner(study)) is not None}

    def _winner(self, study: StudyFile) -> Cell | None:
        """The winner's cell, from its record or from that of a confirm cell; None where all are gone."""
        if study.winner is not None and study.winner in self.records:
            return self.records[study.winner].cell
        confirmed = [self.records[c].cell for c in study.confirm if c in self.records]
        return replace(confirmed[0], seed=study.search_seed) if confirmed else None

    def departures(self, study: StudyFile) -> Iterator[str]:
        """Departures of one study from the protocol."""
        winner = self.winners.get(study.id)
        if winner is None:
            return
        yield from _wrong_trials(study, winner)
        yield from _wrong_confirm(study, winner)
        for cell in self._twins(winner):
            yield f"cell {cell.id} is the winner with seed {cell.seed}, was opened on test and is no confirm cell"
        for cell in self._passed_over(study, winner):
            yield f"cell {cell.id} of another winner was opened on test by a sweep, and no study names it"
        yield from self._missing_searches(study, winner)
        if study.sampler == SOBOL:
            yield from self._struck(study, winner)

    def _twins(self, winner: Cell) -> Iterator[Cell]:
        """Those of :attr:`tested_outside` that differ from the winner in the seed alone."""
        same_method = (cell for cell in self.tested_outside if cell.method == winner.method)
        return (cell for cell in same_method if replace(cell, seed=winner.seed).id == winner.id)

    def _passed_over(self, study: StudyFile, winner: Cell) -> Iterator[Cell]:
        """Cells of another winner of a study, which a sweep confirmed, where the study does not say so itself.

        A request for fewer trials may confirm another one of its trials: that is none.
        """
        if study.extended_from is not None:
            return
        trials = {trial.cell for trial in study.trials}
        for cell in (c for c in self.tested_outside if c.id in self.swept and _has_seed(study, c.seed)):
            if replace(cell, seed=winner.seed).id not in trials and study.id in self._studies_that_ask(cell.id):
                yield cell

    @cached_property
    def swept(self) -> set[str]:
        """Cells that sweeps opened on a held-out set."""
        lines = self.store.unsealings()
        return {line.cell for line in lines if line.by == "sweep" and line.numerics in (0, NUMERICS)}

    def _missing_searches(self, study: StudyFile, winner: Cell) -> Iterator[str]:
        """Independent searches of the same question that are not here: earlier ones, and those that were tested."""
        present = self._searches_of[_question(study)]
        for search in (k for k in range(1, study.search) if k not in present):
            yield f"search {search} is not here"
        for cell in self.tested_outside:
            search = cell.seed // SEED_BLOCK + 1
            if search > 1 and search not in present and study.id in self._studies_that_ask(cell.id):
                yield f"cell {cell.id} was opened on test and has a seed of search {search}, which is not here"

    @cached_property
    def _searches_of(self) -> dict[str, set[int]]:
        """Question -> the searches of it that are here."""
        searches: dict[str, set[int]] = {}
        for study in self.every_study:
            searches.setdefault(_question(study), set()).add(study.search)
        return searches

    def _struck(self, study: StudyFile, winner: Cell) -> Iterator[str]:
        """Cells that are the next trials of a study, and that it does not list."""
        key = _question_of(winner, "context_temperature" in study.space)
        candidates = {cell.id for cell in self._outside_by_question.get(key, ()) if cell.seed == winner.seed}
        space = ranges_of(study)
        for number in range(len(study.trials), len(study.trials) + NEXT_TRIALS) if candidates else ():
            cell = trial_cell(winner, trial_parameters(study.search_seed, number, space)).id
            if cell in candidates:
                yield f"cell {cell} is its trial {number}, which the study does not name"

    @cached_property
    def _outside_by_question(self) -> dict[Question, list[Cell]]:
        by_question: dict[Question, list[Cell]] = {}
        for cell in (c for c in self.outside if c.hyperparameters):
            for searched in (False, True):
                by_question.setdefault(_question_of(cell, searched), []).append(cell)
        return by_question

    @cached_property
    def hidden(self) -> dict[str, str]:
        """Opened cells without a record -> the study they belong to, "" where it cannot be told."""
        gone = self._gone - self._to_be_tested
        owners = {cell: study.id for study in self.studies for cell in self._could_be(study)} if gone else {}
        return {cell: owners.get(cell, "") for cell in sorted(gone)}

    @cached_property
    def _gone(self) -> set[str]:
        """Opened cells without a record."""
        return {*self.opened} - {*self.store.ids()}

    @cached_property
    def _to_be_tested(self) -> set[str]:
        """Confirm cells and their interpolations, where cells are gone. Claims name them where they miss them."""
        studies = self.studies if self._gone else []
        return {cell for study in studies for cell in (*study.confirm, *self._interpolations(study))}

    def _interpolations(self, study: StudyFile) -> Iterator[str]:
        """Interpolations that confirm cells of the protocol's seeds can have."""
        if (winner := self.winners.get(study.id)) is not None:
            for seed in _protocol_seeds(study):
                yield from (interpolation(replace(winner, seed=seed), alpha).id for alpha in WISE_ALPHAS)

    @property
    def lost(self) -> frozenset[str]:
        """Opened interpolations of confirm cells that have no record."""
        confirm = {cell for study in self.studies for cell in study.confirm}
        return frozenset((self._gone & self._to_be_tested) - confirm)

    def _could_be(self, study: StudyFile) -> Iterator[str]:
        """Ids that a cell of a study could have had: its trials with any seed, the winner's interpolations."""
        winner = self.winners.get(study.id)
        if winner is None:
            return
        for trial in study.trials:
            cell = trial_cell(winner, trial.parameters)
            yield from (replace(cell, seed=seed).id for seed in _seeds_near(study, SEEDS_OF_TRIALS))
        for seed in _seeds_near(study, SEEDS_OF_WINNER):
            twin = replace(winner, seed=seed)
            yield twin.id
            yield from (interpolation(twin, alpha).id for alpha in WISE_ALPHAS)

    def late(self) -> tuple[frozenset[str], int]:
        """Studies with a trial that ended after one of their test sets was opened; trials that cannot be dated."""
        first = self._first_opened()
        late, undated = set(), 0
        for study in (s for s in self.studies if s.id in first):
            ends = [self._end(t.cell) for t in study.trials]
            undated += sum(end == "" for end in ends)
            if any(end and end > first[study.id] > "" for end in ends):
                late.add(study.id)
        return frozenset(late), undated

    def _first_opened(self) -> dict[str, str]:
        """Study -> when a cell that asks the same as its trials was first opened; studies never opened are left out."""
        first: dict[str, str] = {}
        hidden = self.hidden
        for cell, when in self.opened.items():
            for name in {hidden[cell]} - {""} if cell in hidden else self._studies_that_ask(cell):
                first[name] = _earlier(first.get(name, ""), when)
        return first

    @cached_property
    def _by_question(self) -> dict[Question, list[StudyFile]]:
        by_question: dict[Question, list[StudyFile]] = {}
        for study in self.studies:
            if (winner := self.winners.get(study.id)) is not None:
                by_question.setdefault(_question_of(winner, "context_temperature" in study.space), []).append(study)
        return by_question

    def _studies_that_ask(self, cell: str) -> set[str]:
        """The studies whose trials an opened cell, or the cell that was interpolated, equals but for hyperparameters
        and seed. Of several independent searches it is the one that the seed belongs to. A study that searches the
        context temperature is one of them only where no study has the temperature of the cell.
        """
        if cell in self.records and self.records[cell].cell.method == "wise_ft":
            cell = self.records[cell].cell.parents[0]
        if cell not in self.records:
            return set()
        tried = self.records[cell].cell
        by_question = self._by_question
        studies = by_question.get(_question_of(tried, False)) or by_question.get(_question_of(tried, True), [])
        own = [study for study in studies if _has_seed(study, tried.seed)]
        return {study.id for study in own or studies}

    def _end(self, cell: str) -> str | None:
        """When a trial ended; "" where its record does not say it, None without a record."""
        return self.records[cell].finished_at if cell in self.records else None


def trial_cell(winner: Cell, parameters: Mapping[str, float]) -> Cell:
    """The search cell of a study that tries these parameters; some readings search the context temperature too."""
    values = dict(parameters)
    reading = winner.reading
    if "context_temperature" in values:
        reading = replace(reading, context_temperature=values.pop("context_temperature"))
    return replace(winner, hyperparameters=values, reading=reading)


def _question_of(cell: Cell, searches_temperature: bool) -> Question:
    """What identifies a cell but for hyperparameters, seed and, where it is searched, the context temperature."""
    reading = replace(cell.reading, context_temperature=1.0) if searches_temperature else cell.reading
    return replace(cell, hyperparameters={}, reading=reading, seed=0).id, searches_temperature


def _wrong_trials(study: StudyFile, winner: Cell) -> Iterator[str]:
    """Trials that are not numbered 0, 1, 2, ..., that are no cells of the study, or that tried other values.

    The first few are named, the others counted: these words stand beside every number of the study.
    """
    departures = list(_each_wrong_trial(study, winner))
    yield from departures[:NAMED]
    if len(departures) > NAMED:
        yield f"{len(departures) - NAMED} more departures of its trials"


def _each_wrong_trial(study: StudyFile, winner: Cell) -> Iterator[str]:
    numbers = [trial.number for trial in study.trials]
    if numbers != list(range(len(numbers))):
        more = ", ..." if len(numbers) > NAMED else ""
        yield f"its trials are numbered {', '.join(map(str, numbers[:NAMED]))}{more}"
    for trial in study.trials:
        if (given := trial_cell(winner, trial.parameters).id) != trial.cell:
            yield f"trial {trial.number} lists cell {trial.cell}, but its parameters give cell {given}"
        in_sequence = study.sampler == SOBOL and trial.number < len(numbers)
        point = trial_parameters(study.search_seed, trial.number, ranges_of(study)) if in_sequence else {}
        for name, (low, high, first) in study.space.items():
            value = trial.parameters.get(name, math.nan)
            wanted = (first, first) if trial.number == 0 else (low, high)
            if not wanted[0] * (1 - ROUNDING) <= value <= wanted[1] * (1 + ROUNDING):
                yield f"trial {trial.number} tried {name} {value:g}, which its range does not give"
            elif point and not math.isclose(value, point[name], rel_tol=ROUNDING):
                yield f"trial {trial.number} tried {name} {value:g}; the sequence of its search gives {point[name]:g}"


def _wrong_confirm(study: StudyFile, winner: Cell) -> Iterator[str]:
    """Confirm cells that are not the winner with the protocol's seeds."""
    seeds = _protocol_seeds(study)
    wanted = {replace(winner, seed=seed).id for seed in seeds}
    if set(study.confirm) == wanted:
        return
    seed_of = {replace(winner, seed=seed).id: seed for seed in _seeds_near(study, max(SEEDS_OF_WINNER, len(seeds) + 1))}
    others = [cell for cell in study.confirm if cell not in seed_of]
    if others:
        yield f"confirm cells {', '.join(others[:NAMED])} are not the winner with a fresh seed"
    confirmed = sorted(seed_of[cell] for cell in study.confirm if cell in seed_of)
    yield f"its confirm seeds are {', '.join(map(str, confirmed))}; the protocol's are {', '.join(map(str, seeds))}"


def _protocol_seeds(study: StudyFile) -> list[int]:
    return confirm_seeds(len(study.confirm), first_search_seed(study.search_seed, study.search), study.search)


def _seeds_near(study: StudyFile, count: int) -> set[int]:
    """The first seeds of the study's own search and of the first search."""
    starts = {0, search_seed_of(0, study.search)}
    return {study.search_seed, *(start + k for start in starts for k in range(count))}


def _question(study: StudyFile) -> str:
    """What several independent searches have in common."""
    own = {name: value for name, value in identity(study.content()).items() if name not in ("search", "search_seed")}
    return study_id({**own, "search_seed": first_search_seed(study.search_seed, study.search)})


def _has_seed(study: StudyFile, seed: int) -> bool:
    """Whether a seed is one of the search that the study is."""
    return seed == study.search_seed or seed // SEED_BLOCK == study.search - 1


def _openings(store: Store, records: Mapping[str, Record], evaluated_at: Mapping[str, str]) -> dict[str, str]:
    """Cell -> first opening of one of its test sets: by the log, and by what stands beside its predictions.

    An opening of a record that was computed again under newer NUMERICS is none of the record that is here, nor is one
    of a superseded record; lines of versions that wrote no NUMERICS are told apart by time, and by what was superseded.
    """
    opened = dict(evaluated_at)
    superseded = {path.name.rpartition("-")[0] for path in store.root.glob("superseded/*")}
    for line in store.unsealings():
        record = records.get(line.cell)
        older = line.cell in superseded if record is None else line.when < record.finished_at
        if line.numerics == NUMERICS or (line.numerics == 0 and not older):
            opened[line.cell] = _earlier(opened.get(line.cell, ""), line.when)
    return opened


def _earlier(first: str, second: str) -> str:
    """Of two times the earlier one; an unknown one does not count."""
    return min(filter(None, (first, second)), default="")


def ranges_of(study: StudyFile) -> dict[str, Range]:
    """The search ranges of a study."""
    return {name: Range(low, high, first_guess) for name, (low, high, first_guess) in study.space.items()}
