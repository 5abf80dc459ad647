"""The YAML files of recipes and audits: shipped ones by name, one's own by path."""

from __future__ import annotations

from importlib.resources.abc import Traversable
from pathlib import Path

from pydantic import BaseModel

from carft.core.errors import UserError, unknown
from carft.core.settings import STRICT

#: endings of files of one's own
ENDINGS = (".yaml", ".yml")


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
        try:
            return Path(name).read_text(encoding="utf-8"), name
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(f"The {what} '{name}' cannot be read: {error}.", f"Shipped: {', '.join(names)}.") from error
    if name not in names:
        raise unknown(what, name, names)
    return shipped.joinpath(f"{name}.yaml").read_text(encoding="utf-8"), f"{name}.yaml"
