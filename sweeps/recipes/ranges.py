"""The ranges of a search: those that were given, and the learning rates of the model that it trains."""

from collections.abc import Callable, Mapping
from contextlib import suppress

from carft.config.registry import learning_rate_range
from carft.core.errors import UserError
from sweeps.recipes.recipe import Recipe, resolved_tasks


def ranged(
    changed: Recipe, recipe: Recipe, given: Mapping[str, tuple[float, float]], say: Callable[[str], None]
) -> Recipe:
    """The recipe with the ranges that were given, and the learning rates of its model where the recipe has none for it.

    changed: the recipe as the command line changes it. say: gets the rates in a sentence. A search of the learning
    rates of its model starts in the middle of them, unless the recipe has learning rates of its own: the first guess of
    a method is no guess for a model.
    """
    if "lr" not in given:
        has_own_range = "lr" in recipe.space
        changed = changed.with_ranges(range_of_model(changed, recipe, say), keeps_guesses=has_own_range)
    return changed.with_ranges(given)


def range_of_model(changed: Recipe, recipe: Recipe, say: Callable[[str], None]) -> dict[str, tuple[float, float]]:
    """The learning rates to search, by the size of the model, where the recipe has none for it; else empty.

    changed, say: as of :func:`ranged`.
    """
    from carft.models.availability import size_of

    model = changed.model or changed.catalog.card(changed.tasks[0]).model
    if changed.grid or model is None or model == _model_of_the_rates(changed, recipe):
        return {}
    if not any("lr" in changed.catalog.method(name).space for name in changed.methods):
        return {}
    size = size_of(model)
    if size is None:
        say(f"The size of {model} is not known here; give its learning rates: --space lr=LOW:HIGH")
        return {}
    low, high = learning_rate_range(size.parameters)
    encoder = f"an image encoder of {size.parameters / 1e6:.3g} million parameters"
    say(f"Learning rates: {low:g} to {high:g}, for {encoder}; others: --space lr=LOW:HIGH")
    return {"lr": (low, high)}


def _model_of_the_rates(changed: Recipe, recipe: Recipe) -> str | None:
    """The model that a recipe's learning rates are for; None for a recipe that names a model and no learning rates."""
    has_own_range = "lr" in recipe.space
    if recipe.model is not None:
        return recipe.model if has_own_range else None
    tasks = changed.tasks
    if has_own_range and recipe.tasks:
        with suppress(UserError):  # of a tasks file that the command line replaces
            tasks = resolved_tasks(recipe.tasks, changed.catalog)
    return changed.catalog.card(tasks[0]).model
