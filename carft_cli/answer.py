"""What a command answers, and the one renderer that prints it: for people, or with ``--json`` for scripts."""

import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import wraps
from itertools import chain
from typing import Annotated, Any

from rich.cells import cell_len
from rich.text import Text

from carft_cli.console import cell_text, out, print_json, visible
from carft_cli.declare import OUTPUT, arguments_of, option, parameters_of

AsJson = Annotated[bool, option(OUTPUT, "Print JSON on stdout, nothing else.", "--json")]
Rows = list[dict[str, Any]]
#: a line, the rows of a table, or facts by name
Shown = str | Text | Rows | Mapping[str, Any]


@dataclass(frozen=True)
class Answer:
    """What a command found."""

    facts: Any
    """What ``--json`` prints."""
    people: Iterable[Shown] | None = None
    """What is printed without it, in this order; None: the facts."""
    code: int = 0
    """The exit code."""


def answering(command: Callable[..., Answer]) -> Callable[..., None]:
    """Turn a command that returns an :class:`Answer` into one that prints it and exits with its code.

    ``--json`` is an option beside those of its parameters, of which it is not told.
    """
    parameters = parameters_of(command)
    keyword = inspect.Parameter.KEYWORD_ONLY
    parameters.append(inspect.Parameter("as_json", keyword, default=False, annotation=AsJson))

    @wraps(command)
    def call(as_json: bool, **options: Any) -> None:
        answer = command(**arguments_of(command, options))
        if as_json:
            print_json(answer.facts)
        else:
            show([answer.facts] if answer.people is None else answer.people)
        if answer.code:
            raise SystemExit(answer.code)

    vars(call)["__signature__"] = inspect.Signature(parameters)
    call.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return call


def show(people: Iterable[Shown]) -> None:
    """Print lines, but empty ones, rows as tables, and facts a line for each."""
    for one in people:
        if isinstance(one, list):
            show(table(one))
        elif isinstance(one, Mapping):
            show(told(one))
        elif one:
            out.say(one)


def table(rows: Rows) -> Iterator[Shown]:
    """Rows below the names of their columns where that fits into the terminal, else a line for each field.

    A dash stands for what a row does not have. A table is one text: a folder has many cells.
    """
    headings = list(dict.fromkeys(chain.from_iterable(rows)))
    lines = [[visible(name) for name in headings]]
    for row in rows:
        lines.append([cell_text(row.get(name)) for name in headings])
    lengths = [list(map(cell_len, line)) for line in lines]
    widths = [max(column) for column in zip(*lengths, strict=True)]
    texts: list[str] = []
    for line, taken in zip(lines, lengths, strict=True):
        parts = zip(line, taken, widths, strict=True)
        texts.append("".join(f" {text}{' ' * (width - length)} " for text, length, width in parts))
    if not rows:
        yield "nothing"
    elif sum(widths) + 2 * len(widths) > out.width or not all(text.isprintable() for text in texts):
        yield from stacked(rows, headings[:1])
    else:
        yield bold(texts[0])
        yield "\n".join(texts[1:])


def told(facts: Mapping[str, Any]) -> Iterator[Shown]:
    """A line for each fact, with tables of those that are rows or have names themselves."""
    for name, value in facts.items():
        if isinstance(value, Mapping) and value:
            named = []
            for key, part in value.items():
                named.append({name: key, "value": part})
            yield named
        elif isinstance(value, list | tuple) and value and isinstance(value[0], Mapping):
            yield from (bold(name), list(value))
        else:
            yield f"{name}: {cell_text(value) if value or value == 0 else '-'}"


def without_constant(rows: Rows, name: str) -> Rows:
    """The rows, without this column where all have one value in it."""
    if len({row[name] for row in rows}) > 1:
        return rows
    shorter = []
    for row in rows:
        rest = dict(row)
        del rest[name]
        shorter.append(rest)
    return shorter


def stacked(rows: Rows, head: Sequence[str]) -> Iterator[Shown]:
    """A line for each field, for long reasons and paths; the fields of ``head`` go first."""
    for row in rows:
        yield bold("  ".join(cell_text(row.get(name)) for name in head))
        for name, value in row.items():
            if name not in head and value not in (None, "", [], (), {}):
                yield f"  {name}: {cell_text(value)}"


def bold(text: str) -> Text:
    """A line in bold."""
    return Text(text, "bold")
