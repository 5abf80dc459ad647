"""Eight rules of a fair comparison that people break by mistake. Each is a function from what is on record to notes.

1. The winner of a search is the best on validation.
2. Its confirm cells have the winner's settings.
3. Both sides of a comparison have equal ranges, trials, sampler, budget and data.
4. Both sides ran with one code. Records of another ``NUMERICS`` are not read at all.
5. No test set was opened before the winner was selected.
6. Planned studies are there, and are evaluated on the planned suites.
7. Planned trials and seeds are there, and trials tried what their search gives.
8. The margin of a claim is that of the plan.

They see mistakes, not forgery: whoever owns the folder can change records and journal alike.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import chain
from operator import attrgetter
from typing import Any

from carft.config.cell import Cell
from carft.config.frozen_defaults import PROTOCOL, UNTRAINED
from carft.config.registry import METHODS, MethodCard, Range
from carft.core.errors import UserError
from carft.protocol.sampling import SOBOL, trial_parameters
from carft.protocol.seeds import first_search_seed
from carft.protocol.selection import Candidate, averaged, best, min_finished_trials
from carft.store.journal import Journal
from carft.store.study_file import StudyFile, Trial
from reports.judge.conduct import Conduct
from reports.note import Note

#: what tables and page say of a row that rests on a study that broke a rule
DEPARTED = "protocol not kept"
#: what both sides must have alike -> how a study states it; further searches are compared by the seed of the first one
SETTINGS: Mapping[str, Callable[[StudyFile], Any]] = {
    "search seed": lambda study: first_search_seed(study.search_seed, study.search),
    "sampler": attrgetter("sampler"),
    "pruner": attrgetter("pruner"),
    "selection": lambda study: study.selection,
    "precision": lambda study: study.precision,
    **{name.replace("_", " "): attrgetter(name) for name in PROTOCOL},
}
#: relative difference of a hyperparameter from what its search gives
ROUNDING = 1e-9
#: of the training recipe, what no method may have as its own where it is compared: how much it trains
BUDGET = {"epochs", "steps", "batch_size"}


def winner_is_best(conduct: Conduct, study: StudyFile) -> Iterator[Note]:
    """Rule 1, for a winner of its own and for one that tasks share."""
    own, family = conduct.candidates(study), conduct.family(study)
    if not own:  # the trials are of another NUMERICS: nothing of them is reported
        return
    missing = set(study.selected_over)
    candidates_of: list[list[Candidate]] = []
    for other in family:
        missing.discard(other.task)
        candidates_of.append(conduct.candidates(other))
    if missing:
        yield Note(
            "winner", f"its winner is selected over {', '.join(sorted(missing))} too, of which there is no study"
        )
        return
    candidates, chosen = averaged(own, candidates_of), "none"
    if len(candidates) >= min_finished_trials(len(study.trials), len(study.pruned)):
        selected = best(candidates)
        chosen = selected.cell if selected else chosen
    if study.winner != chosen:
        yield Note("winner", f"the winner is {study.winner}; validation selects {chosen}", cells=(str(study.winner),))


def confirmed_is_winner(conduct: Conduct, study: StudyFile) -> Iterator[Note]:
    """Rule 2: confirm cells differ from the winner in the seed alone."""
    winner = conduct.winner(study)
    others = []
    for cell in study.confirm:
        if winner and cell in conduct.folder.records:
            with_its_seed = replace(conduct.folder.records[cell].cell, seed=winner.seed)
            if with_its_seed.id != winner.id:
                others.append(cell)
    if others:
        yield Note("confirm cells", f"confirm cells {', '.join(others)} are not the winner's", cells=tuple(others))


def unequal_settings(
    first: StudyFile, second: StudyFile, methods: Mapping[str, MethodCard] = METHODS
) -> Iterator[Note]:
    """Rule 3: what two studies differ in besides the method and what is its own."""
    sides = (first.method, second.method)
    ranges, others = _shared_ranges(first, methods), _shared_ranges(second, methods)
    for name in ranges:
        if name in others and ranges[name] != others[name]:
            yield apart(f"range of the {name}", sides, _range_words(ranges[name]), _range_words(others[name]))
    for name, setting in SETTINGS.items():
        if setting(first) != setting(second):
            yield apart(name, sides, setting(first), setting(second))
    recipe, other = _recipe(first), _recipe(second)
    own = {*methods[first.method].own_training, *methods[second.method].own_training} - BUDGET
    for name in sorted({*recipe, *other} - own):
        if recipe.get(name) != other.get(name):
            yield apart(f"training recipe ({name.replace('_', ' ')})", sides, recipe.get(name), other.get(name))


def unequal_trials(ours: Sequence[int], theirs: Sequence[int]) -> Iterator[Note]:
    """Rule 3: how many trials ended of each search of two sides."""
    if list(ours) != list(theirs):
        counts, others = (" + ".join(map(str, trials)) or "0" for trials in (ours, theirs))
        yield Note("trials", f"the searches ({counts} against {others} finished trials)")


def unequal_runs(conduct: Conduct, sides: tuple[str, str], first: StudyFile, second: StudyFile) -> Iterator[Note]:
    """Rules 3 and 4: that no code, or no data, served trials of both studies, or confirm cells of both."""
    for cells, others in ((first.trial_cells, second.trial_cells), (first.confirm, second.confirm)):
        for name, of_cells in (("code", conduct.folder.code_of), ("data", conduct.data_of)):
            ours, theirs = of_cells(cells), of_cells(others)
            if ours and theirs and not ours & theirs:
                yield apart(name, sides, ", ".join(sorted(ours)), ", ".join(sorted(theirs)))


def apart(what: str, sides: tuple[str, str], ours: object, theirs: object) -> Note:
    """That two sides differ in something."""
    return Note(what, f"the {what} ({sides[0]} {ours} against {sides[1]} {theirs})")


def opened_after_selection(conduct: Conduct, study: StudyFile) -> Iterator[Note]:
    """Rule 5: confirm cells are opened after they were selected, and trials not before, but for an oracle."""
    selected_by = dict(zip(study.confirm, study.confirm, strict=True))
    if not study.oracle:
        selected_by |= dict.fromkeys(study.trial_cells, study.id)
    early = []
    for cell, name in selected_by.items():
        if conduct.is_before(conduct.openings.get(cell, ()), conduct.selections.get(name, ())):
            early.append(cell)
    if early:
        words = f"cells {', '.join(early)} were opened on test before the winner was selected"
        yield Note("opened early", words, cells=tuple(early))


def on_planned_suites(conduct: Conduct, study: StudyFile) -> Iterator[Note]:
    """Rule 6, for suites; studies that are missing are in :meth:`Conduct.absent`."""
    chosen = conduct.planned_suites.get(study.task)
    if chosen is None:
        return
    try:
        planned = list(conduct.folder.catalog.with_suites(chosen).card(study.task).suites)
        now = list(conduct.folder.catalog.card(study.task).suites)
    except UserError:  # no task of this name is known here, which a report says
        return
    if planned != now:
        before, after = ", ".join(planned) or "none", ", ".join(now) or "none"
        yield Note("suites", f"its plan evaluates on {before}, and the results are now evaluated on {after}")


def planned_is_there(conduct: Conduct, study: StudyFile) -> Iterator[Note]:
    """Rule 7: every trial ended, and trials and seeds are those of the largest plan."""
    winner = conduct.winner(study)
    if winner is None:
        return
    lost = []
    for trial in study.trials:
        if trial.cell not in conduct.folder.records and trial.status not in ("failed", "pruned"):
            lost.append(str(trial.number))
    if lost:
        yield Note("trials", f"trials {', '.join(lost)} have neither a record nor a failure")
    plans = conduct.plans.get(study.id, ())
    trials = max((plan.trials for plan in plans), default=0)
    if trials and len(study.trials) != trials:
        yield Note("trials", f"it has {len(study.trials)} trials; the journal plans {trials}")
    if not plans:
        return
    missing: dict[str, str] = {}  # cell -> seed
    for seed in chain.from_iterable(plan.seeds for plan in plans):
        missing[replace(winner, seed=seed).id] = str(seed)
    others = []
    for cell in study.confirm:
        if missing.pop(cell, None) is None:
            others.append(cell)
    if missing:
        yield Note("seeds", f"its confirm cells lack the planned seeds {', '.join(missing.values())}")
    if others:
        words = f"confirm cells {', '.join(others)} are not the winner with a planned seed"
        yield Note("seeds", words, cells=tuple(others))


def trials_are_of_search(conduct: Conduct, study: StudyFile) -> Iterator[Note]:
    """Rule 7: trials are numbered from 0, and tried what their search gives."""
    winner = conduct.winner(study)
    if not study.is_in_order:
        yield Note("trials", "its trials are not numbered in the order in which its sampler was asked")
    elif winner is not None:
        for trial in study.trials:
            words = _why_strange(study, trial, winner)
            if words:
                yield Note("trials", f"trial {trial.number} {words}", cells=(trial.cell,))
                return  # one is enough: these words stand beside every number of the study


def _why_strange(study: StudyFile, trial: Trial, winner: Cell) -> str:
    """Why a trial is none of its search; empty if it is one. Of another sampler the ranges alone are known."""
    given = trial_cell(winner, trial.parameters).id
    if given != trial.cell:
        return f"lists cell {trial.cell}, but its parameters give cell {given}"
    if study.sampler == SOBOL:
        ranges = {}
        for name, (low, high, first) in study.space.items():
            ranges[name] = Range(low, high, first)
        for name, value in trial_parameters(study.search_seed, trial.number, ranges).items():
            tried = trial.parameters.get(name, math.nan)
            if not math.isclose(tried, value, rel_tol=ROUNDING):
                return f"tried {name} {tried:g}; its search gives {value:g}"
        return ""
    for name, (low, high, _) in study.space.items():
        tried = trial.parameters.get(name, math.nan)
        if trial.number and not low * (1 - ROUNDING) <= tried <= high * (1 + ROUNDING):
            return f"tried {name} {tried:g}, and its range is {low:g} to {high:g}"
    return ""


def trial_cell(winner: Cell, parameters: Mapping[str, float]) -> Cell:
    """The search cell of a study that tries these parameters; some readings search the context temperature too."""
    values = dict(parameters)
    reading = winner.reading
    if "context_temperature" in values:
        reading = replace(reading, context_temperature=values.pop("context_temperature"))
    return replace(winner, hyperparameters=values, reading=reading)


def other_margins(journal: Journal, margins: Mapping[str, float]) -> dict[str, Note]:
    """Rule 8: claim -> that its margin, a share of 1, is not that of the last plan which has another one."""
    changed = {}
    for plan in journal.of("planned"):
        for name, planned in plan.claims.items():
            if name in margins and isinstance(planned, float) and planned != margins[name]:
                now = f"the margin of {name} is {100 * margins[name]:g} points"
                changed[name] = Note("margin", f"{now}, and was {100 * planned:g} when a sweep was planned")
    return changed


#: rules on one study with a winner; the others are on two sides, on plans or on claims
RULES: Sequence[Callable[[Conduct, StudyFile], Iterator[Note]]] = (
    winner_is_best,
    confirmed_is_winner,
    opened_after_selection,
    on_planned_suites,
    planned_is_there,
    trials_are_of_search,
)


def departures(conduct: Conduct) -> dict[str, list[Note]]:
    """Study with a winner -> the rules that it broke; what concerns the whole journal under the empty name."""
    found: dict[str, list[Note]] = {}
    whole = []
    for words in conduct.folder.journal.problems:
        whole.append(Note("journal", words))
    if not conduct.folder.journal.lines and any(record.in_journal for record in conduct.folder.records.values()):
        whole.append(Note("journal", "the records name a journal, which is missing"))
    if whole:
        found[""] = whole
    for study in conduct.folder.studies:
        notes: list[Note] = []
        for rule in RULES:
            if study.winner:
                notes += rule(conduct, study)
        if notes:
            found[study.id] = notes
    return found


def _shared_ranges(study: StudyFile, methods: Mapping[str, MethodCard]) -> dict[str, tuple[float, ...]]:
    """What the registry calls a hyperparameter for several methods -> its range in a study."""
    ranges = {}
    for name, what in methods[study.method].shares.items():
        ranges[what] = tuple(study.space.get(name, ()))
    return ranges


def _range_words(limits: Sequence[float]) -> str:
    return "{:g} to {:g} from {:g}".format(*limits) if limits else "not on record"


def _recipe(study: StudyFile) -> dict[str, Any]:
    """The whole training recipe of a study."""
    return {**UNTRAINED, **study.training.content()}
