"""What a command answers, and the one renderer that prints it: for people, or with ``--json`` for scripts."""

import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, is_dataclass
from functools import wraps
from itertools import chain
from typing import Annotated, Any

from rich.cells import cell_len
from rich.text import Text

from carft_cli.console import cell_text, out, print_json, visible
from carft_cli.declare import OUTPUT, option, parameters_of, settings_of

AsJson = Annotated[bool, option(OUTPUT, "Print JSON on stdout, nothing else.", "--json")]
Rows = list[dict[str, Any]]
#: a line, or the rows of a table
Shown = str | Text | Rows


@dataclass(frozen=True)
class Answer:
    """What a command found."""

    facts: Any
    """What ``--json`` prints."""
    people: Iterable[Shown] | None = None
    """What is printed without it, in this order; None: :func:`told` of the facts."""
    code: int = 0
    """The exit code."""


def answering(command: Callable[..., Answer]) -> Callable[..., None]:
    """Turn a command that returns an :class:`Answer` into one that prints it and exits with its code.

    The command has the options that are its parameters, or the fields of the one dataclass that it takes; and
    ``--json``, of which it is not told.
    """
    parameters = list(inspect.signature(command, eval_str=True).parameters.values())
    settings: Any = parameters[0].annotation if parameters else None
    has_settings = is_dataclass(settings)
    if has_settings:
        parameters = parameters_of(settings)
    as_json = inspect.Parameter("as_json", inspect.Parameter.KEYWORD_ONLY, default=False, annotation=AsJson)
    parameters.append(as_json)

    @wraps(command)
    def call(as_json: bool, **options: Any) -> None:
        answer = command(settings_of(settings, options)) if has_settings else command(**options)
        if as_json:
            print_json(answer.facts)
        else:
            show(told(answer.facts) if answer.people is None else answer.people)
        if answer.code:
            raise SystemExit(answer.code)

    vars(call)["__signature__"] = inspect.Signature(parameters)
    call.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return call


def show(people: Iterable[Shown]) -> None:
    """Print lines, but empty ones, and rows as tables."""
    for one in people:
        if isinstance(one, list):
            show(table(one))
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


def told(facts: Rows | Mapping[str, Any]) -> Iterator[Shown]:
    """Rows as a table; of facts a line for each, with tables of those that are rows or have names themselves."""
    if isinstance(facts, list):
        yield facts
        return
    for name, value in facts.items():
        if isinstance(value, Mapping) and value:
            yield [{name: key, "value": part} for key, part in value.items()]
        elif isinstance(value, list | tuple) and value and isinstance(value[0], Mapping):
            yield from (bold(name), list(value))
        else:
            yield f"{name}: {cell_text(value) if value or value == 0 else '-'}"


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
