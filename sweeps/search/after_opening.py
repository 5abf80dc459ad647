"""What a sweep would change of searches whose held-out sets are open: their verdicts say so for good. No Ray."""

from collections.abc import Mapping
from typing import Any

from carft.protocol.identity import identity
from carft.store.records import Store
from carft.store.study_file import StudyFile
from sweeps.recipes.recipe import Recipe
from sweeps.search.study import Study, studies_of

#: what a person changes to search the same question again
HOW = ("space", "sampler", "pruner", "search", "search_seed")


def changes_after_opening(recipe: Recipe, store: Store) -> list[str]:
    """Each search that would begin, or get more trials or seeds, after held-out sets of its question were opened."""
    on_disk = {study.id: study for study in store.readable_studies()}
    opened = []
    for before in on_disk.values():
        if any(store.evaluation_paths(cell) for cell in before.confirm):
            opened.append(before)
    if not opened:
        return []
    trained = [card for card in map(recipe.catalog.method, recipe.methods) if card.kind == "trained"]
    changes = []
    for study in studies_of(recipe, trained):
        if study.id in on_disk:
            alike = [before for before in opened if before.id == study.id and before.extended_from is None]
            more = [_more(study, before) for before in alike]
        else:
            asked = _question(study.content)
            alike = [before for before in opened if _question(before.content()) == asked]
            more = [_new(study, alike)] if alike else []
        changes += [f"{study.method.label} on {study.task}: {words}" for words in more if words]
    return changes


def _new(study: Study, alike: list[StudyFile]) -> str:
    """What a study adds to those of the same question that were opened, in words."""
    for before in alike:
        if before.search == study.search:
            return f"ranges or sampler other than those of study {before.id[:8]}"
    return f"search {study.search} after an earlier one was opened"


def _more(study: Study, before: StudyFile) -> str:
    """What a study would have more of than on disk, in words; empty for nothing."""
    words = []
    counts = (("trials", study.n_trials, len(before.trials)), ("seeds", study.recipe.seeds, len(before.confirm)))
    for name, wanted, there in counts:
        if wanted > there:
            words.append(f"{wanted} {name} in place of {there}")
    return ", ".join(words)


def _question(content: Mapping[str, Any]) -> dict[str, Any]:
    """What identifies a study but for the way in which it searches."""
    return {name: value for name, value in identity(content).items() if name not in HOW}
