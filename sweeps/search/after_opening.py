"""What a sweep would change of searches whose held-out sets are open: their verdicts say so for good. No Ray."""

from collections.abc import Mapping
from typing import Any

from carft.protocol.identity import identity
from carft.store.records import Store
from sweeps.recipes.recipe import Recipe
from sweeps.search.study import studies_of

#: what a person changes to search the same question again
HOW = ("space", "sampler", "pruner", "search", "search_seed")


def changes_after_opening(recipe: Recipe, store: Store) -> list[str]:
    """Each search that would begin, or get more trials or seeds, after held-out sets of its question were opened."""
    on_disk = store.readable_studies()
    opened = [study for study in on_disk if any(store.evaluation_paths(cell) for cell in study.confirm)]
    if not opened:
        return []
    there = {study.id for study in on_disk}
    changes = []
    for study in studies_of(recipe, recipe.cards("trained")):
        question, change = _question(study.content), ""
        for before in opened:
            if before.id == study.id:
                more = study.n_trials > len(before.trials) or recipe.seeds > len(before.confirm)
                if more and before.extended_from is None:
                    change = f"more trials or seeds than its {len(before.trials)} and {len(before.confirm)}"
            elif study.id not in there and _question(before.content()) == question:
                change = f"another search than study {before.id[:8]}"
        if change:
            changes.append(f"{study.method.label} on {study.task}: {change}")
    return changes


def _question(content: Mapping[str, Any]) -> dict[str, Any]:
    """What identifies a study but for the way in which it searches."""
    return {name: value for name, value in identity(content).items() if name not in HOW}
