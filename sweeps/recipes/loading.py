"""Recipes from YAML: the shipped ones by name, and files of one's own, which may extend another."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

from carft.catalog.catalog import BUILT_IN, Catalog
from carft.core.errors import UserError, unknown
from carft.core.files import given_path, read_given
from carft.core.yaml_file import parse_yaml
from sweeps.recipes.recipe import Recipe

#: endings of files of one's own
ENDINGS = (".yaml", ".yml")
EXTENDS = "extends"
TASKS_FILE = "tasks_file"
#: fields of which single entries are replaced
MERGED = ("training", "smoke", "space", "grid")
#: fields that hold for a recipe itself, and not for those that extend it
OWN = ("name", "expect", "without_data")
SHIPPED = files("sweeps.recipes")


def recipe_names() -> list[str]:
    """Names of the shipped recipes."""
    return sorted(path.name.removesuffix(".yaml") for path in SHIPPED.iterdir() if path.name.endswith(".yaml"))


def _text_of(name: str) -> tuple[str, str]:
    """(text, name of the file) of a recipe; ``UserError`` for what is neither shipped nor a file that ends in .yaml."""
    names = recipe_names()
    if name.endswith(ENDINGS):
        return read_given(Path(name), "recipe", f"Shipped: {', '.join(names)}."), name
    if name not in names:
        raise unknown("recipe", name, names, more=" A file of your own ends in .yaml.")
    return SHIPPED.joinpath(f"{name}.yaml").read_text(encoding="utf-8"), f"{name}.yaml"


def load_recipe(name: str, extending: tuple[str, ...] = (), catalog: Catalog = BUILT_IN) -> Recipe:
    """A shipped recipe by name, or your own: a file that ends in .yaml.

    catalog: knows its methods. extending: the files that extend it, the outermost first.
    """
    if name in extending:
        raise UserError(f"The recipe '{name}' extends itself.", "Let it extend a shipped one, such as downstream.")
    return parse_recipe(*_text_of(name), extending, catalog=catalog)


def parse_recipe(text: str, source: str, extending: tuple[str, ...] = (), *, catalog: Catalog) -> Recipe:
    """A recipe from YAML text; unknown keys and wrong types are refused with their line.

    source: name of the file. extending: the files that extend this one.
    """

    def complete(content: Mapping[str, Any]) -> Mapping[str, Any]:
        own, folder = dict(content), Path(source).parent
        tasks_file = own.get(TASKS_FILE)
        if isinstance(tasks_file, str):
            own[TASKS_FILE] = str(folder / given_path(tasks_file))
        if EXTENDS not in own:
            return own
        base = own.pop(EXTENDS)
        if not isinstance(base, str) or not base or "\0" in base:
            raise UserError(f"{source}: '{EXTENDS}' needs the name of one recipe.", "For example: extends: downstream")
        place = str(folder / base) if base.endswith(ENDINGS) else base
        loaded = load_recipe(place, (*extending, source), catalog)
        facts = {"name": Path(source).stem, "expect": f"That of {base}, as far as it holds here."}
        extended = _extended(own, loaded.model_dump())  # without the base's name and expectation
        return {**facts, **extended}

    return parse_yaml(Recipe, text, source, "recipe", complete, {"catalog": catalog}).with_catalog(catalog)


def _extended(own: Mapping[str, Any], base: Mapping[str, Any]) -> dict[str, Any]:
    """Return the content of a recipe with what it does not say from ``base``.

    Name and expectation are not inherited, nor is the recipe that runs without data. Of the fields in :data:`MERGED`
    only the entries that the recipe names are replaced. Learning rates and weights of another model are not inherited.
    With a tasks file and without tasks all tasks of the file are meant.
    """
    content = dict(base)
    for name in OWN:
        del content[name]
    if own.get("model", base["model"]) != base["model"]:
        content["space"] = dict(base["space"])
        content["space"].pop("lr", None)
        content["pretrained"] = None
    if TASKS_FILE in own:
        content["tasks"] = []
    for name, value in own.items():
        inherited = content.get(name)
        if name in MERGED and isinstance(value, dict) and isinstance(inherited, dict):
            content[name] = {**inherited, **value}
        else:
            content[name] = value
    return content
