"""What the journal knows of a study whose study.json cannot be read. No Ray."""

from collections import defaultdict
from dataclasses import replace

from carft.core.errors import UserError
from carft.store.journal import Journal, Line
from carft.store.study_file import Extension
from sweeps.search.study import Study

#: trials and seeds of a study
Size = tuple[int, int]


def lost_extension(study: Study, journal: Journal, damage: UserError) -> Extension | None:
    """Return ``extended_from`` of a study whose file cannot be read: that and the records are enough to write it again.

    damage: why it cannot be read. Raises ``UserError`` where the journal does not tell the size of the study, where the
    recipe asks for fewer trials or seeds, since the file would lose some, and where trials stand in the file alone.
    """
    if study.learns:
        kept = "Which trials were pruned"
        if not study.sampler.is_fixed:
            kept = f"What the trials of the sampler {study.sampler} try"
        raise UserError(
            f"{damage.message} {kept} stands in no other file.",
            "Put a copy of the file back, or remove it: the search then begins anew.",
        )
    trials, seeds = size = _size(study, journal.of("planned"))
    if not seeds:
        raise UserError(
            f"{damage.message} No journal tells how many trials and seeds the study had.",
            "Put a copy of the file back, or remove it: it is then written with the trials of this command.",
        )
    if study.n_trials < trials or study.recipe.seeds < seeds:
        asked = f"--trials {trials} --seeds {seeds}"
        raise UserError(
            f"{damage.message} The study had {asked}, and this command asks for fewer.",
            f"Run it with {asked}: the file is then written again from the records.",
        )
    return _extension(study, journal, size)


def _extension(study: Study, journal: Journal, size: Size) -> Extension | None:
    """What the study had grown from, if it grew or changed its winner after its test metrics were first seen."""
    confirmed, winners = defaultdict[str, set[str]](set), set[str]()
    for line in journal.of("selected"):
        confirmed[line.study].update(line.confirm)
        if line.study == study.id:
            winners.add(line.winner)
    before = _size(study, _until_opened(journal, confirmed[study.id]))
    if before != size or len(winners) > 1:
        return Extension(trials=before[0], confirm=before[1])
    earlier = set[str]()
    for search in range(1, study.search):
        earlier |= confirmed[replace(study, search=search).id]
    if _size(study, _until_opened(journal, earlier)) != size:
        return Extension(searches=study.search - 1)
    return None


def _until_opened(journal: Journal, cells: set[str]) -> list[Line]:
    """The lines before the first one on a held-out set of one of these cells."""
    before = []
    for line in journal.lines.values():
        if line.kind == "opened" and line.cell in cells:
            break
        before.append(line)
    return before


def _size(study: Study, lines: list[Line]) -> Size:
    """The most trials and seeds that these lines plan of a study; 0 where they plan none."""
    trials = seeds = 0
    for line in lines:
        for plan in line.studies:
            if plan.study == study.id:
                trials, seeds = max(trials, plan.trials), max(seeds, len(plan.seeds))
    return trials, seeds
