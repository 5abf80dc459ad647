"""Writes the reference pages from the code: ``python docs/reference.py``.

commands.md from the command line, settings.md and recipes.md from the declarations of settings and the shipped recipes,
files.md from the classes of stored files, the metrics and the tables of a report, glossary.md from the glossary of a
report, and the table of claims.md from the ledger.
"""

from __future__ import annotations

import ast
import inspect
import pkgutil
import re
import textwrap
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

import typer
from pydantic import TypeAdapter

from carft import store
from carft.config.cell import Reading
from carft.config.settings import ProtocolSettings, SearchSettings, Training
from carft.core import metrics
from carft.core.declaration import choices, described, plain_type
from carft.store.document import FIELDS, Document
from carft.store.journal import Line
from carft.training.execution import Execution
from carft_cli.app import app
from reports.judge.claims.ledger import ledger
from reports.read.cells import COLUMNS
from reports.render.tables.table import TableCard, table_cards
from reports.render.words.glossary import TERMS
from sweeps.recipes.loading import load_recipe, recipe_names
from sweeps.recipes.recipe import Recipe

FOLDER = Path(__file__).resolve().parent
MADE = "`make reference` writes this page."
SETTINGS: tuple[tuple[str, str, Any], ...] = (
    ("Training", "Keys of `training` in a recipe, and options of `train`, `sweep` and `plan`.", Training),
    ("Reading", "Options of `train`. A recipe varies them in `readings` ([method](method.md)).", Reading),
    ("Protocol", "Keys of a recipe, and options of `train`, `sweep` and `plan` ([protocol](protocol.md)).",
     ProtocolSettings),
    ("Search", "Keys of a recipe, and options of `sweep` and `plan`.", SearchSettings),
    ("Execution", "Options of `train`, `sweep` and `plan`. None is part of the id of a cell.",
     Execution),
    ("Recipe", "Other keys of a recipe ([extending](extending.md#a-recipe)).", Recipe),
)  # fmt: skip
#: type of a setting, and bound of a number -> how the table of settings shows it
TYPES = {int: "integer", float: "number", str: "text"}
BOUNDS = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<"}
#: commands with fewer options of their own are shown by their usage alone
MANY = 4
#: headings of the tables of options, and of the fields of a file
OPTIONS, OF_FIELDS = ("option", "meaning"), ("field", "type", "meaning")
#: files that the program keeps for itself: they may change at any time, and no page describes them
INTERNAL = ("sweeps/", "folders.json", "suites/", "documents.jsonl", "manifest.json", "failures/", "journal/")
#: parts of files whose fields explain themselves
SELF_EXPLAINING = ("RecordedExecution", "StoredFeatures", "TrainingSettings", "Extension")
#: kind of family that a claim is asked of -> words
KINDS = {"several": "nine tasks", "single": "single tasks", "imagenet": "ImageNet", "domainbed": "DomainBed"}
#: modules whose classes are files of a results folder or an archive
STORED = [import_module(f"carft.store.{module.name}") for module in pkgutil.iter_modules(store.__path__)]


def table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table in Markdown; an empty string without rows."""
    lines = ["|" + "|".join(shown(text).replace("|", r"\|") for text in row) + "|" for row in rows]
    head = [f"|{'|'.join(headings)}|", "|" + "---|" * len(headings)]
    return "\n".join([*head, *lines]) + "\n" if lines else ""


def shown(text: str) -> str:
    """Text on one line: names in angle brackets are no HTML, examples of links no links, names of pages are links."""
    coded = re.sub(r"(?<!`)(\[[^\]`]*\]\([^)`]*\))", r"`\1`", " ".join(text.split()))
    parts = re.split(r"(`[^`]*`)", coded)
    plain = (part if part.startswith("`") else part.replace("<", "&lt;") for part in parts)
    return re.sub(r"docs/([\w-]+)\.md", r"[\1](\1.md)", "".join(plain))


def commands() -> str:
    """The text of docs/commands.md."""
    found = dict(_commands(typer.main.get_command(app), ""))
    options = {name: _options_of(command) for name, command in found.items()}
    of_sweep = options["sweep"]
    like_sweep = [name for name in found if name != "sweep" and of_sweep.items() <= options[name].items()]
    for name in like_sweep:
        options[name] = {option: line for option, line in options[name].items() if option not in of_sweep}
    counts = Counter(item for lines in options.values() for item in lines.items())
    shared = dict(sorted(item for item, count in counts.items() if count > 1))
    parts = [
        "# Commands\n\nEvery command of `python cli.py` with its options; installed as a package, the program is "
        f"`carft`. {MADE}\n\nAfter `make demo`, activate `.venv` or write `.venv/bin/python`. Brackets mark what may "
        "be left out, parentheses hold a default. `--help` of a command explains each of its options.\n\n"
        "Exit codes: 0 when all is done, 1 when a cell failed, a check found a difference or something stands in the "
        "way of a plan, 2 with one sentence when a request is refused, 130 after Ctrl-C, 143 after SIGTERM.\n",
        "## Shared options\n",
        table(OPTIONS, shared.values()),
    ]
    for name, command in found.items():
        arguments = [_row_of(parameter) for parameter in command.params if parameter.param_type_name == "argument"]
        own = [row for option, row in options[name].items() if shared.get(option) != row]
        if name in like_sweep:
            more = " ".join(_in_usage(p) for p in command.params if p.opts[0] in options[name])
            told = f"All options of [sweep](#sweep), and `{more}`."
        elif own and len(own) < MANY:
            usage = " ".join(_in_usage(p) for p in command.params if _is_own(p, shared))
            told = f"Usage: `{usage}`"
        else:
            told = table(OPTIONS, [*arguments, *own]).strip() if own or len(arguments) > 1 else ""
        blocks = [f"## {name}", _usage(name, command.help or ""), told, _settings_of(command)]
        parts.append("\n\n".join(filter(None, blocks if name not in like_sweep else blocks[:3])) + "\n")
    return "\n".join(parts)


def _options_of(command: Any) -> dict[str, tuple[str, str]]:
    """Name -> row of each option that is no setting."""
    options = (p for p in command.params if p.param_type_name == "option" and p.opts[0] != "--help")
    return {p.opts[0]: _row_of(p) for p in options if not _is_setting(p)}


def _is_own(parameter: Any, shared: Mapping[str, tuple[str, str]]) -> bool:
    """Whether a parameter is an argument, or an option of this command alone."""
    return parameter.opts[0] not in {*shared, "--help"}


def _in_usage(parameter: Any) -> str:
    """An argument or option as a line of usage shows it."""
    kind = parameter.metavar or parameter.name
    if parameter.param_type_name == "argument":
        return _row_of(parameter)[0].strip("`")
    word = parameter.opts[0] if getattr(parameter, "is_flag", False) else f"{parameter.opts[0]} {kind.upper()}"
    return word if parameter.required else f"[{word}]"


def _row_of(parameter: Any) -> tuple[str, str]:
    """An argument or option with its default, and its meaning."""
    kind, default = parameter.metavar, _default_of(parameter)
    if parameter.param_type_name == "option":
        names = ", ".join((*parameter.opts, *parameter.secondary_opts)).replace(", ", "`, `")
        name = f"{names} {kind}" if kind else names
    else:
        word = (kind or parameter.name).upper().strip("[]")
        name = word if parameter.required else f"[{word}]"
    return f"`{name}`{f' ({default})' if default else ''}", parameter.help or ""


def _is_setting(parameter: Any) -> bool:
    """Whether an option is made from a setting, whose meaning is in docs/settings.md."""
    fields = (described(kind).get(parameter.name) for _, _, kind in SETTINGS)
    words = (str(field.description).removesuffix(".") for field in fields if field)
    return any((parameter.help or "").startswith(text) for text in words)


def _settings_of(command: Any) -> str:
    """A sentence with the settings that are options of a command, by the titles of their sections."""
    left = {p.name for p in command.params if _is_setting(p)}
    names = []
    for title, _, kind in SETTINGS:
        if left >= (fields := described(kind).keys()):
            names.append(f"[{title.lower()}](settings.md#{title.lower()})")
            left -= fields
    return f"Settings: {', '.join(names)}." if names else ""


def _usage(name: str, text: str) -> str:
    """The help of a command, with its example unless that is the name of the command alone."""
    first, _, example = text.partition("Example: ")
    words = first.partition("\n\n")[0]
    shows_more = example.strip("`\n ") != f"python cli.py {name}"
    told = re.sub(r"\s*Exit code[^.]*\.", "", _prose(words))
    return f"{told} {example.strip() if shows_more else ''}".strip()


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
        return "required" if parameter.param_type_name == "option" else ""
    value = parameter.default
    if callable(value) or value is False or value in (None, "", (), []):
        return ""
    return f"`{value}`"


def _prose(text: str) -> str:
    """Help as paragraphs of Markdown, each on one line."""
    plain = re.sub(r":\w+:`~?([\w.]+)`", r"`\1`", textwrap.dedent(text).strip()).replace("``", "`")
    return "\n\n".join(shown(block) for block in re.split(r"\n\s*\n", plain))


def settings() -> str:
    """The text of docs/settings.md."""
    opening = (
        "# Settings\n\nEvery setting; of its values the one in `code` is the default. A name is a key of a recipe, an "
        f"option of a command (`batch_size` is `--batch-size`), or both. {MADE}\n"
    )
    parts, listed = [opening], set[str]()
    for title, words, kind in SETTINGS:
        fields = {name: field for name, field in described(kind).items() if name not in listed}
        listed |= fields.keys()
        rows = [[f"`{name}`", _values_of(field), str(field.description)] for name, field in fields.items()]
        parts.append(f"## {title}\n\n{words}\n\n{table(['setting', 'values', 'meaning'], rows)}")
    return "\n".join(parts)


def _values_of(field: Any) -> str:
    """The default of a setting as code, and the values that it may have."""
    default = None if field.is_required() else field.get_default(call_default_factory=True)
    if names := choices(field):
        return ", ".join(f"`{name}`" if name == default else name for name in names)
    if isinstance(default, bool):
        return f"`{str(default).lower()}`"
    first = "required" if field.is_required() else "" if default in (None, "", [], {}) else f"`{default}`"
    bounds = [
        f"{sign}{getattr(bound, name):g}"
        for bound in field.metadata
        for name, sign in BOUNDS.items()
        if hasattr(bound, name)
    ]
    kind = "" if first.startswith("`") else TYPES.get(plain_type(field.annotation), "")
    return ", ".join(filter(None, [first, kind, *bounds]))


def recipes() -> str:
    """The text of docs/recipes.md."""
    opening = (
        "# Recipes\n\nThe experiments that come with the project: `python cli.py sweep NAME` runs one, `python cli.py "
        f"ls recipes NAME` prints it. [Extending](extending.md#a-recipe) has recipes of your own. {MADE}\n"
    )
    rows = []
    for name in recipe_names():
        recipe = load_recipe(name)
        sizes = f"{recipe.trials}, {recipe.searches}, {recipe.seeds}, {recipe.training.epochs}"
        methods = ", ".join(f"`{method}`" for method in recipe.methods)
        tasks = ", ".join(f"`{task}`" for task in recipe.tasks)
        rows.append([f"`{name}`", recipe.question, tasks, methods, sizes])
    size = "trials, searches, confirm seeds, epochs"
    return f"{opening}\n{table(['recipe', 'question', 'tasks', 'methods', size], rows)}"


def files() -> str:
    """The text of docs/files.md."""
    kinds = [
        kind
        for module in STORED
        for kind in vars(module).values()
        if kind is Line or (isinstance(kind, type) and issubclass(kind, Document) and kind is not Document)
        if kind.__module__ == module.__name__
    ]
    kinds = [kind for kind in kinds if not (kind.__doc__ or "").strip("`").startswith(INTERNAL)]
    fields = {kind: _fields_of(kind) for kind in kinds}
    named = " ".join(field.row[1] for of_kind in fields.values() for field in of_kind).split()
    parts_shown = set(named) - set(SELF_EXPLAINING)
    counts = Counter(field.row for of_kind in fields.values() for field in of_kind if not field.is_setting)
    shared = sorted(row for row, count in counts.items() if count > 1)
    parts = [
        "# Files, metrics and tables\n\nThe fields of the JSON files of results folders and archives, the metrics, and "
        "the tables of a report. The [protocol](protocol.md#the-records-folder) has the layout of a results folder. "
        f"The program alone reads the others. {MADE}\n\n"
        "A field without a type is text. `?` marks one that may be missing.\n",
        f"## Shared fields\n\n{table(OF_FIELDS, ((f'`{name}`', kind, words) for name, kind, words in shared))}",
    ]
    for title, are_files in (("Files", True), ("Parts of files", False)):
        chosen = [kind for kind in kinds if _is_file(kind) == are_files and (are_files or kind.__name__ in parts_shown)]
        parts += [f"## {title}\n", *(_section_of(kind, fields[kind], shared, are_files) for kind in chosen)]
    parts += [
        f"## Metrics\n\n{_metrics()}",
        '## Cells frame\n\n`reports.read_cells("results")` returns a pandas frame, a row a cell, by id. `hp/NAME` is '
        "a hyperparameter; metrics have the names above, and `context_top1` is the mean over held-out sets.\n",
        "\n".join([*(f"- `{name}`: {meaning}" for name, meaning in COLUMNS.items()), ""]),
        "## Tables of a report\n\nEach is a file `tables/NAME.csv`. The page explains each table.\n",
        table(["table", "a row is named by", "content"], map(_table_row, table_cards().values())),
    ]
    return "\n".join(parts)


def _is_file(kind: type[Document] | type[Line]) -> bool:
    return ".json" in (kind.__doc__ or "").split(":")[0]


def _table_row(card: TableCard) -> tuple[str, str, str]:
    """A table of a report: its name, the columns that name a row, and its title; where that is its name, its note."""
    keys = f"`{'/'.join(card.keys)}`"
    title = card.title if card.title.endswith("?") else f"{card.title}."
    words = card.note if card.title.lower() == card.name.replace("_", " ") else title
    return f"`{card.name}`", keys, words


class _Field(NamedTuple):
    """A field of a JSON file. row: its name, its type in words, empty for text, and its meaning."""

    row: tuple[str, str, str]
    is_required: bool

    @property
    def name(self) -> str:
        """The name, with ? where the field may be missing."""
        return f"`{self.row[0]}{'' if self.is_required else '?'}`"

    @property
    def is_setting(self) -> bool:
        """Whether docs/settings.md says what the field means."""
        return not self.row[2]


def _fields_of(kind: type[Document] | type[Line]) -> list[_Field]:
    words, schema = _field_words(kind), TypeAdapter(kind).json_schema()["properties"]
    of_file = {name: field for name, field in kind.__pydantic_fields__.items() if field.init is not False}
    names = [(name, field.alias or name, field.is_required()) for name, field in of_file.items()]
    shared = {key: words.replace("``", "`") for key, words in FIELDS.items()}
    return [
        _Field((key, _type_words(schema[key]), words.get(name, shared.get(key, ""))), must) for name, key, must in names
    ]


def _section_of(
    kind: type[Document] | type[Line], fields: Sequence[_Field], shared: Sequence[tuple[str, str, str]], is_file: bool
) -> str:
    """A class of stored files under its first sentence, with a line for each field that has no other place."""
    first, _, rest = _prose(inspect.getdoc(kind) or "").partition(". ")
    title = first.removesuffix(".")
    own = [field for field in fields if not (field.is_setting or field.row in shared)]
    links = {
        "[Shared](#shared-fields)": [field.name for field in fields if field.row in shared],
        "[Settings](settings.md)": [field.name for field in fields if field.is_setting],
    }
    blocks = [
        f"### {title if is_file else f'{kind.__name__}: {title[0].lower()}{title[1:]}'}",
        rest,
        table(OF_FIELDS, ((field.name, *field.row[1:]) for field in own)).strip(),
        " ".join(f"{link}: {', '.join(names)}." for link, names in links.items() if names),
    ]
    return "\n\n".join(filter(None, blocks)) + "\n"


def _type_words(schema: Mapping[str, Any]) -> str:
    """The type of a field in JSON, in words; empty for text and for any value. Its meaning says where it is null."""
    if "$ref" in schema:
        return schema["$ref"].rpartition("/")[2].replace("JsonValue", "")
    if "anyOf" in schema:
        return next(words for words in map(_type_words, reversed(schema["anyOf"])) if words != "null")
    kind = {"array": "list", "string": ""}.get(schema["type"], schema["type"])
    inside = schema.get("items", schema.get("additionalProperties"))
    is_told = isinstance(inside, dict) and (kind == "list" or "$ref" in inside)
    return f"{kind} of {words}" if is_told and (words := _type_words(inside)) else kind


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
    functions: Sequence[Callable[..., Any]] = (
        metrics.score,
        metrics.score_classes,
        metrics.with_prefix,
        metrics.ood_means,
    )
    lines = [f"- `{f.__name__}`: {_prose(inspect.getdoc(f) or '').removeprefix('Return ')}" for f in functions]
    return "\n".join(["Computed by functions of `carft/core/metrics.py`:\n", *lines, ""])


def claims() -> str:
    """The table of the ledger."""
    rows = [[claim.id, claim.title, claim.rule, _asked_of(claim.asked_of)] for claim in ledger().values()]
    return table(["id", "claim", "reproduced if", "asked of"], rows)


def _asked_of(kinds: Sequence[str]) -> str:
    """The kinds of family that a claim is asked of, in words."""
    left_out = [words for kind, words in KINDS.items() if kind not in kinds]
    if len(left_out) > 1:
        return ", ".join(KINDS[kind] for kind in kinds)
    return f"all but {left_out[0]}" if left_out else "all"


def glossary() -> str:
    """The text of docs/glossary.md."""
    opening = f"# Glossary\n\nThe words of these pages and of a report, which explains them where they stand. {MADE}\n"
    return "\n".join([opening, *(f"**{term}**: {shown(meaning)}\n" for term, meaning in TERMS.items())])


def pages() -> dict[str, str]:
    """File in docs/ -> its text. Of claims.md the part between two marks is made."""
    written = (FOLDER / "claims.md").read_text(encoding="utf-8")
    before, rest = written.split("<!-- claims: begin -->")
    after = rest.split("<!-- claims: end -->")[1]
    ledger_page = f"{before}<!-- claims: begin -->\n\n{claims()}\n<!-- claims: end -->{after}"
    made = {"commands": commands(), "settings": settings(), "recipes": recipes(), "files": files()}
    made["glossary"] = glossary()
    return {f"{name}.md": text for name, text in (made | {"claims": ledger_page}).items()}


if __name__ == "__main__":
    for name, text in pages().items():
        (FOLDER / name).write_text(text, encoding="utf-8")
