"""Recipes: list the shipped ones, show one in full, check one of your own."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from carft_cli.console import out, print_json, rows_table
from carft_cli.options import PLUGIN, AsJson, RecipeName

if TYPE_CHECKING:
    from sweeps.recipes import Recipe

recipes_group = typer.Typer(no_args_is_help=True, help="Recipes: list, show, check.", rich_markup_mode="markdown")
Plugins = Annotated[list[Path] | None, typer.Option("--plugin", help=PLUGIN)]


@recipes_group.command()
def ls(as_json: AsJson = False) -> None:
    """List the shipped recipes: what each asks, of how many tasks, with how large a search.

    Example: `python cli.py recipes ls`
    """
    from sweeps.recipes import load_recipe, recipe_names

    rows = [_row(load_recipe(name)) for name in recipe_names()]
    if as_json:
        return print_json(rows)
    out.print(rows_table(rows))


@recipes_group.command()
def show(recipe: RecipeName, plugin: Plugins = None, as_json: AsJson = False) -> None:
    """Print a recipe in full, with what it takes from the one that it extends.

    Example: `python cli.py recipes show downstream`
    """
    import yaml

    from carft.config.catalog import BUILT_IN
    from sweeps.recipes import load_recipe

    loaded = load_recipe(recipe, catalog=BUILT_IN.with_plugins(plugin or []))
    content = {"name": loaded.name, **loaded.model_dump(exclude_defaults=True)}
    if as_json:
        return print_json(content)
    text = yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=120)
    out.say(text.rstrip())


def _row(recipe: Recipe) -> dict[str, Any]:
    trials = 0 if recipe.grid else recipe.trials
    counts = {"tasks": len(recipe.tasks), "trials": trials, "seeds": recipe.seeds, "searches": recipe.searches}
    epochs = recipe.training.epochs
    return {"recipe": recipe.name, "methods": ", ".join(recipe.methods), **counts, "epochs": epochs}
