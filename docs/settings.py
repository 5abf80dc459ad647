"""Writes docs/settings.md, the tables of all settings, from their declarations: ``python docs/settings.py``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from carft.core.settings import allowed_values, described
from carft.spec.cell import Cell, Reading
from carft.spec.settings import ExecutionSettings, SearchSettings, Training
from sweeps.recipes import Recipe

TARGET = Path(__file__).resolve().parent / "settings.md"
OPENING = (
    "# Settings\n\nEvery setting with its allowed values and its default. A name is a key of a recipe, an option of a "
    "command (`batch_size` is `--batch-size`), or both. `make settings` makes the page from the declarations.\n"
)
HEAD = "| setting | default | allowed | meaning |\n|---|---|---|---|"
TABLES: tuple[tuple[str, str, Any], ...] = (
    ("Training", "Keys of `training` in a recipe, and options of `train`.", Training),
    ("Reading", "Options of `train`. A recipe varies them in `readings` ([method](method.md)).", Reading),
    ("Protocol", "Keys of a recipe, and options of `train` ([protocol](protocol.md)).", Cell),
    ("Search", "Keys of a recipe, and options of `sweep` and `plan`.", SearchSettings),
    ("Recipe", "Other keys of a recipe ([extending](extending.md#a-recipe)).", Recipe),
    ("Execution", "Options of `train`, `sweep`, `plan` and `audit`. None is part of the id of a cell.",
     ExecutionSettings),
)  # fmt: skip


def page() -> str:
    """The text of docs/settings.md."""
    return OPENING + "".join(f"\n## {title}\n\n{words}\n\n{table}" for title, words, table in _sections())


def _sections() -> Iterator[tuple[str, str, str]]:
    listed: set[str] = set()
    for title, words, kind in TABLES:
        fields = {name: field for name, field in described(kind).items() if name not in listed}
        listed |= fields.keys() - described(ExecutionSettings).keys()
        rows = [[f"`{n}`", _default(f), allowed_values(f), str(f.description)] for n, f in fields.items()]
        lines = [" | ".join(cell.replace("|", r"\|") for cell in row) for row in rows]
        yield title, words, "\n".join([HEAD, *(f"| {line} |" for line in lines), ""])


def _default(field: Any) -> str:
    if field.is_required():
        return "required"
    default = field.get_default(call_default_factory=True)
    return (
        "" if default in (None, "", [], {}) else f"`{str(default).lower() if isinstance(default, bool) else default}`"
    )


if __name__ == "__main__":
    TARGET.write_text(page(), encoding="utf-8")
