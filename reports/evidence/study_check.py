"""A study file by itself, and against the records of its trials: winner, identity, trials and confirm cells."""

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, replace

from carft.config.cell import PROTOCOL, Cell, Training, id_form
from carft.config.registry import Range
from carft.core.errors import UserError
from carft.protocol.identity import identity, study_id
from carft.protocol.sampling import SOBOL, trial_parameters
from carft.protocol.selection import Candidate, averaged, best, min_finished_trials
from carft.store.journal import StudyPlan
from carft.store.record_files import Record
from carft.store.study_file import StudyFile
from reports.evidence.findings import Finding, What

ROUNDING = 1e-9


#: what the studies of all tasks that share a winner have in common -> these studies
Families = Mapping[str, Sequence[StudyFile]]


def winner_findings(study: StudyFile, records: Mapping[str, Record], families: Families) -> Iterator[Finding]:
    """A study's winner against selection on validation, and its confirm cells against the winner."""
    if not any(trial.cell in records for trial in study.trials):
        return  # of another NUMERICS: nothing of it is reported
    candidates, chosen = _candidates(study, records, families), None
    if len(candidates) >= min_finished_trials(len(study.trials)):
        chosen = best(candidates)
    if chosen is None or study.winner != chosen.cell:
        yield Finding.of(What.OTHER_WINNER, winner=study.winner, chosen=chosen and chosen.cell)
        return
    wanted = records[chosen.cell].cell.hyperparameters
    others = []
    for cell in study.confirm:
        if cell in records and records[cell].cell.hyperparameters != wanted:
            others.append(cell)
    if others:
        yield Finding.of(What.OTHER_CONFIRMED, cells=others)


def families_of(studies: Iterable[StudyFile]) -> Families:
    """Group the studies whose winner is shared between tasks. Studies with a winner of their own are left out."""
    families: dict[str, list[StudyFile]] = defaultdict(list)
    for study in studies:
        if study.selected_over:
            families[_id_of_family(study)].append(study)
    return dict(families)


def _id_of_family(study: StudyFile) -> str:
    shared = identity(study.content())
    shared.pop("task")
    shared.pop("data_version", None)
    return study_id(shared)


def _candidates(study: StudyFile, records: Mapping[str, Record], families: Families) -> list[Candidate]:
    """What selection sees of a study; ``UserError`` where it shares its winner with a study that is not here."""

    def own(one: StudyFile) -> list[Candidate]:
        candidates = []
        for trial in one.trials:
            if trial.cell in records:
                candidates.append(Candidate(trial.cell, trial.number, records[trial.cell].metrics))
        return candidates

    family: Sequence[StudyFile] = [study]
    if study.selected_over:
        family = families[_id_of_family(study)]
        missing = sorted({*study.selected_over} - {other.task for other in family})
        if missing:
            raise UserError(f"its winner is selected over {', '.join(missing)} too, of which there is no study.")
    return averaged(own(study), [own(other) for other in family])


def identity_findings(study: StudyFile, records: Mapping[str, Record]) -> Iterator[Finding]:
    """What a study says of itself against its id, and against seed, precision, model and recipe of its search cells."""
    if not study.space:
        yield Finding.of(What.NO_RANGES)
        return
    if study_id(identity(study.content())) != study.id:
        yield Finding.of(What.OTHER_ID)

    def facts(one: StudyFile | Cell) -> tuple[object, ...]:
        start = id_form(one.model, one.pretrained)
        protocol = [getattr(one, name) for name in PROTOCOL]
        return one.task, one.data_version, *start, one.method, one.precision, *protocol

    stated = (*facts(study), study.search_seed, {**asdict(Training()), **study.training.content()})
    strange = []
    for trial in study.trials:
        if trial.cell in records:
            cell = records[trial.cell].cell
            if (*facts(cell), cell.seed, asdict(cell.training)) != stated:
                strange.append(cell.id)
    if strange:
        yield Finding.of(What.OTHER_CELLS, cells=strange)


def trial_findings(study: StudyFile, winner: Cell) -> Iterator[Finding]:
    """Trials that are not numbered 0, 1, 2, ..., that are no cells of the study, or that left its ranges."""
    numbers = [trial.number for trial in study.trials]
    if numbers != list(range(len(numbers))):
        yield Finding.of(What.NUMBERING, numbers=numbers)
    ranges = {name: Range(low, high, first_guess) for name, (low, high, first_guess) in study.space.items()}
    for trial in study.trials:
        given = trial_cell(winner, trial.parameters).id
        if given != trial.cell:
            yield Finding.of(What.OTHER_CELL, trial=trial.number, cell=trial.cell, given=given)
        point: Mapping[str, float] = {}
        if study.sampler == SOBOL and trial.number < len(numbers):
            point = trial_parameters(study.search_seed, trial.number, ranges)
        for name, (low, high, first) in study.space.items():
            value = trial.parameters.get(name, math.nan)
            if trial.number == 0:
                low = high = first
            tried = {"trial": trial.number, "name": name, "value": value}
            if not low * (1 - ROUNDING) <= value <= high * (1 + ROUNDING):
                yield Finding.of(What.OUTSIDE_RANGE, **tried)
            elif point and not math.isclose(value, point[name], rel_tol=ROUNDING):
                yield Finding.of(What.OFF_SEQUENCE, **tried, given=point[name])


def trial_cell(winner: Cell, parameters: Mapping[str, float]) -> Cell:
    """The search cell of a study that tries these parameters; some readings search the context temperature too."""
    values = dict(parameters)
    reading = winner.reading
    if "context_temperature" in values:
        reading = replace(reading, context_temperature=values.pop("context_temperature"))
    return replace(winner, hyperparameters=values, reading=reading)


def plan_findings(study: StudyFile, winner: Cell, plan: StudyPlan) -> Iterator[Finding]:
    """Where trials and confirm cells are not those of the plan."""
    if len(study.trials) != plan.trials:
        yield Finding.of(What.OTHER_TRIALS, trials=len(study.trials), planned=plan.trials)
    planned = {replace(winner, seed=seed).id: seed for seed in plan.seeds}
    missing, others = dict(planned), []
    for cell in study.confirm:
        missing.pop(cell, None)
        if cell not in planned:
            others.append(cell)
    if missing:
        yield Finding.of(What.SEEDS_MISSING, seeds=list(missing.values()))
    if others:
        yield Finding.of(What.OTHER_SEEDS, cells=others)
