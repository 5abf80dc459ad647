"""Writes the reference pages from the code: ``python docs/reference.py``.

commands.md from the command line, settings.md and recipes.md from the declarations of settings and the shipped recipes,
files.md from the classes of stored files, the metrics and the tables of a report, and the table of claims.md from the
ledger.
"""

from __future__ import annotations

import ast
import inspect
import pkgutil
import re
import textwrap
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import typer

from carft import store
from carft.config.cell import Cell, Reading
from carft.config.settings import ExecutionSettings, SearchSettings, Training
from carft.core import metrics
from carft.core.settings import allowed_values, described
from carft.store.document import Document
from carft_cli.app import app
from reports.claims.rules import ledger
from reports.tables.table import table_cards
from sweeps.recipes import Recipe, load_recipe, recipe_names

FOLDER = Path(__file__).resolve().parent
MADE = "`make reference` writes this page from the code."
SETTINGS: tuple[tuple[str, str, Any], ...] = (
    ("Training", "Keys of `training` in a recipe, and options of `train`.", Training),
    ("Reading", "Options of `train`. A recipe varies them in `readings` ([method](method.md)).", Reading),
    ("Protocol", "Keys of a recipe, and options of `train` ([protocol](protocol.md)).", Cell),
    ("Search", "Keys of a recipe, and options of `sweep` and `plan`.", SearchSettings),
    ("Recipe", "Other keys of a recipe ([extending](extending.md#a-recipe)).", Recipe),
    ("Execution", "Options of `train`, `sweep`, `plan` and `audit`. None is part of the id of a cell.",
     ExecutionSettings),
)  # fmt: skip
#: kind of family that a claim is asked of -> words
KINDS = {"nine": "nine tasks", "single": "single tasks", "imagenet": "ImageNet", "domainbed": "DomainBed"}
#: modules whose classes are files of a results folder or an archive
STORED = [import_module(f"carft.store.{module.name}") for module in pkgutil.iter_modules(store.__path__)]


def table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table in Markdown; an empty string without rows."""
    lines = ["| " + " | ".join(shown(text).replace("|", r"\|") for text in row) + " |" for row in rows]
    head = [f"| {' | '.join(headings)} |", "|" + "---|" * len(headings)]
    return "\n".join([*head, *lines]) + "\n" if lines else ""


def shown(text: str) -> str:
    """Text on one line in which names in angle brackets are no HTML, and examples of links no links."""
    coded = re.sub(r"(?<!`)(\[[^\]`]*\]\([^)`]*\))", r"`\1`", " ".join(text.split()))
    parts = re.split(r"(`[^`]*`)", coded)
    return "".join(part if part.startswith("`") else part.replace("<", "&lt;") for part in parts)


def commands() -> str:
    """The text of docs/commands.md."""
    shared = {f"--{name.replace('_', '-')}" for _, _, kind in SETTINGS for name in described(kind)}
    parts = [
        "# Commands\n\nEvery command of `python cli.py` with its options; installed as a package, the program is "
        f"`carft`. {MADE}\n\nAfter `make demo`, activate `.venv` or write `.venv/bin/python`. A request that cannot "
        "work is refused in one sentence with exit code 2. Options that are [settings](settings.md) are not repeated "
        "here; `--help` lists them all.\n"
    ]
    for name, command in _commands(typer.main.get_command(app), ""):
        options, arguments, settings = [], [], 0
        for parameter in command.params:
            is_option = parameter.param_type_name == "option"
            names = ", ".join(f"`{option}`" for option in (*parameter.opts, *parameter.secondary_opts))
            if is_option and parameter.opts[0] in shared:
                settings += 1
            elif parameter.opts[0] != "--help":
                shown = names if is_option else f"`{(parameter.metavar or parameter.name).upper()}`"
                (options if is_option else arguments).append([shown, _default_of(parameter), parameter.help or ""])
        parts.append(f"## {name}\n\n{_prose(command.help or '')}\n")
        parts += filter(None, [table(["option", "default", "meaning"], [*arguments, *options])])
        if settings:
            parts.append(f"Also {settings} [settings](settings.md).\n")
    return "\n".join(parts)


def _commands(command: Any, path: str) -> Iterator[tuple[str, Any]]:
    """(name, command) of everything that can be run."""
    inner = getattr(command, "commands", {})
    if not inner or (path and command.invoke_without_command):
        yield path, command
    for name, sub in inner.items():
        if not sub.hidden:
            yield from _commands(sub, f"{path} {name}".strip())


def _default_of(parameter: Any) -> str:
    if parameter.required:
        return "required"
    value = parameter.default
    if callable(value) or value in (None, False, "", (), []):
        return ""
    return f"`{value}`"


def _prose(text: str) -> str:
    """Help as paragraphs of Markdown, each on one line."""
    plain = re.sub(r":\w+:`~?([\w.]+)`", r"`\1`", textwrap.dedent(text).strip()).replace("``", "`")
    return "\n\n".join(shown(block) for block in re.split(r"\n\s*\n", plain))


def settings() -> str:
    """The text of docs/settings.md."""
    opening = (
        "# Settings\n\nEvery setting with its allowed values and its default. A name is a key of a recipe, an option "
        f"of a command (`batch_size` is `--batch-size`), or both. {MADE}\n"
    )
    parts, listed = [opening], set[str]()
    for title, words, kind in SETTINGS:
        fields = {name: field for name, field in described(kind).items() if name not in listed}
        listed |= fields.keys() - described(ExecutionSettings).keys()
        rows = [[f"`{n}`", _default_setting(f), allowed_values(f), str(f.description)] for n, f in fields.items()]
        parts.append(f"## {title}\n\n{words}\n\n{table(['setting', 'default', 'allowed', 'meaning'], rows)}")
    return "\n".join(parts)


def _default_setting(field: Any) -> str:
    if field.is_required():
        return "required"
    default = field.get_default(call_default_factory=True)
    if default in (None, "", [], {}):
        return ""
    return f"`{str(default).lower() if isinstance(default, bool) else default}`"


def recipes() -> str:
    """The text of docs/recipes.md."""
    opening = (
        "# Recipes\n\nThe experiments that come with the project: `python cli.py sweep NAME` runs one, `python cli.py "
        f"recipes show NAME` prints it. [Extending](extending.md#a-recipe) has recipes of your own. {MADE}\n"
    )
    rows = []
    for name in recipe_names():
        recipe = load_recipe(name)
        numbers = {"trials": recipe.trials, "searches": recipe.searches, "confirm seeds": recipe.seeds}
        sizes = ", ".join(f"{what} {n}" for what, n in (numbers | {"epochs": recipe.training.epochs}).items())
        methods = ", ".join(f"`{method}`" for method in recipe.methods)
        tasks = ", ".join(f"`{task}`" for task in recipe.tasks)
        rows.append([f"`{name}`", recipe.question, tasks, methods, sizes])
    return f"{opening}\n{table(['recipe', 'question', 'tasks', 'methods', 'size'], rows)}"


def files() -> str:
    """The text of docs/files.md."""
    parts = [
        "# Files, metrics and tables\n\nWhat is in the JSON files of a results folder and of an archive, what the "
        "metrics of a record are, and which tables a report writes. The [protocol](protocol.md#the-records-folder) has "
        f"the layout of the folder. {MADE}\n"
    ]
    kinds = [
        kind
        for module in STORED
        for kind in vars(module).values()
        if isinstance(kind, type) and issubclass(kind, Document) and kind is not Document
        if kind.__module__ == module.__name__
    ]
    for title, are_files in (("Files", True), ("Parts of files", False)):
        chosen = [kind for kind in kinds if (".json" in (kind.__doc__ or "").split("\n")[0]) == are_files]
        parts.append(f"## {title}\n\n" + "\n".join(map(_fields_of, chosen)))
    parts.append(f"## Metrics\n\n{_metrics()}")
    cards = table_cards().items()
    rows = [
        [f"`tables/{name}.csv`", card.title, card.note, ", ".join(f"`{k}`" for k in card.keys)] for name, card in cards
    ]
    parts.append(f"## Tables of a report\n\n{table(['file', 'title', 'what it holds', 'a row is named by'], rows)}")
    return "\n".join(parts)


def _fields_of(kind: type[Document]) -> str:
    """A class of stored files, and a row for each of its fields."""
    words, schema = _field_words(kind), kind.model_json_schema()["properties"]
    rows = [
        [f"`{f.alias or n}`", _type_words(schema[f.alias or n]), "required" * f.is_required(), words.get(n, "")]
        for n, f in kind.model_fields.items()
    ]
    fields = table(["field", "type", "", "meaning"], rows)
    return f"### {kind.__name__}\n\n{_prose(inspect.getdoc(kind) or '')}\n\n{fields}"


def _type_words(schema: Mapping[str, Any]) -> str:
    """The type of a field in JSON, in words."""
    if "$ref" in schema:
        return schema["$ref"].rpartition("/")[2]
    if "anyOf" in schema:
        return " or ".join(map(_type_words, schema["anyOf"]))
    if schema.get("type") == "array" and "items" in schema:
        return f"list of {_type_words(schema['items'])}"
    return str(schema.get("type", "any"))


def _field_words(kind: type) -> Mapping[str, str]:
    """Field -> the string below it in the source."""
    (body,) = ast.parse(textwrap.dedent(inspect.getsource(kind))).body
    assert isinstance(body, ast.ClassDef)
    return {
        before.target.id: " ".join(after.value.value.split()).replace("``", "`")
        for before, after in zip(body.body, body.body[1:], strict=False)
        if isinstance(before, ast.AnnAssign) and isinstance(before.target, ast.Name)
        if isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant) and isinstance(after.value.value, str)
    }


def _metrics() -> str:
    functions: Sequence[Callable[..., Any]] = (metrics.score, metrics.score_classes, metrics.flatten, metrics.ood_means)
    lines = [f"- `{f.__name__}`: {_prose(inspect.getdoc(f) or '')}" for f in functions]
    return "\n".join(["Computed in `carft/core/metrics.py`, for records and reports alike.\n", *lines, ""])


def claims() -> str:
    """The table of the ledger."""
    headings = ["id", "claim", "reproduced if", "asked of", "source"]
    return table(
        headings,
        (
            [c.id, c.statement, c.rule, ", ".join(map(KINDS.__getitem__, c.asked_of)), c.source]
            for c in ledger().values()
        ),
    )


def pages() -> dict[str, str]:
    """File in docs/ -> its text. Of claims.md the part between two marks is made."""
    written = (FOLDER / "claims.md").read_text(encoding="utf-8")
    before, rest = written.split("<!-- claims: begin -->")
    after = rest.split("<!-- claims: end -->")[1]
    ledger_page = f"{before}<!-- claims: begin -->\n\n{claims()}\n<!-- claims: end -->{after}"
    made = {"commands": commands(), "settings": settings(), "recipes": recipes(), "files": files()}
    return {f"{name}.md": text for name, text in (made | {"claims": ledger_page}).items()}


if __name__ == "__main__":
    for name, text in pages().items():
        (FOLDER / name).write_text(text, encoding="utf-8")
