"""The YAML files of recipes and audits: shipped ones by name, one's own by path; and recipes that extend another."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from carft.core.errors import UserError, unknown
from carft.core.files import given_path, read_given
from carft.core.settings import STRICT

#: endings of files of one's own
ENDINGS = (".yaml", ".yml")
EXTENDS, TASKS_FILE = "extends", "tasks_file"
#: the hyperparameter whose range depends on the model
LR = "lr"
#: fields of which single entries are replaced
MERGED = ("training", "smoke", "space", "grid")
#: fields that hold for a recipe itself, and not for those that extend it
OWN = ("name", "expect", "without_data")


class Strict(BaseModel):
    """A part of such a file: unknown keys are refused, and no value is converted."""

    model_config = STRICT


def names_in(folder: Traversable) -> list[str]:
    """Names of the files that are shipped in a folder."""
    return sorted(path.name.removesuffix(".yaml") for path in folder.iterdir() if path.name.endswith(".yaml"))


def text_of(name: str, what: str, shipped: Traversable) -> tuple[str, str]:
    """(text, name) of a shipped file by its name, or of one's own, which ends in .yaml; ``UserError`` for neither.

    what: what the file is, for messages. shipped: the folder of the shipped ones.
    """
    names = names_in(shipped)
    if name.endswith(ENDINGS):
        return read_given(Path(name), what, f"Shipped: {', '.join(names)}."), name
    if name not in names:
        raise unknown(what, name, names)
    return shipped.joinpath(f"{name}.yaml").read_text(encoding="utf-8"), f"{name}.yaml"


def base_of(content: Mapping[str, Any], source: str) -> str:
    """Return the recipe that a recipe extends: a name, or a path from this folder. Empty where it extends none.

    source: name of the recipe's file. Raises ``UserError`` for what is no name.
    """
    if EXTENDS not in content:
        return ""
    base = content[EXTENDS]
    if not isinstance(base, str) or not base or "\0" in base:
        raise UserError(f"{source}: '{EXTENDS}' needs the name of one recipe.", "For example: extends: downstream")
    return str(Path(source).parent / base) if base.endswith(ENDINGS) else base


def extended(content: Mapping[str, Any], base: Mapping[str, Any], source: str) -> dict[str, Any]:
    """Return the content of a recipe with what it does not say from ``base``.

    Name and expectation are not inherited, nor is the recipe that runs without data. Of the fields in :data:`MERGED`
    only the entries that the recipe names are replaced. The learning rates of another model are not inherited. With a
    tasks file and without tasks all tasks of the file are meant.
    """
    own = {name: value for name, value in content.items() if name != EXTENDS}
    kept = {name: value for name, value in base.items() if name not in OWN}
    if own.get("model", kept["model"]) != kept["model"]:
        kept["space"] = {name: given for name, given in kept["space"].items() if name != LR}
    for name in MERGED:
        if isinstance(own.get(name), dict) and isinstance(kept.get(name), dict):
            own[name] = {**kept[name], **own[name]}
    if TASKS_FILE in own:
        kept["tasks"] = []
    facts = {"name": Path(source).stem, "expect": f"That of {content[EXTENDS]}, as far as it holds here."}
    return {**facts, **kept, **own}


def with_place(content: Mapping[str, Any], source: str) -> Mapping[str, Any]:
    """Return the content of a recipe with its tasks file as a path from this folder."""
    if not isinstance(content.get(TASKS_FILE), str):
        return content
    try:
        return {**content, TASKS_FILE: str(Path(source).parent / given_path(content[TASKS_FILE]))}
    except UserError as error:
        raise UserError(f"{source}: {TASKS_FILE}: {error.message}", error.hint) from error
