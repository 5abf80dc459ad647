"""Options of a command as a frozen dataclass: each option is declared once, in a group that several commands share."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from dataclasses import MISSING, Field, fields, is_dataclass
from functools import wraps
from typing import Any, TypeVar, get_type_hints

import typer

#: panels of ``--help`` in the order in which they are printed
PANELS = (
    "What to run",
    "The search",
    "Where to run",
    "Data",
    "Output",
    "Advanced: what to run",
    "Advanced: the search",
    "Advanced: where to run",
    "Advanced: data",
)
RUN, SEARCH, WHERE, DATA, OUTPUT, MORE_RUN, MORE_SEARCH, MORE_WHERE, MORE_DATA = PANELS

Settings = TypeVar("Settings")


def option(panel: str, text: str, *names: str, **more: Any) -> Any:
    """A Typer option with the help ``text``, printed in ``panel``. names: such as ``--json``; default: the field's."""
    return typer.Option(*names, help=text, rich_help_panel=panel, **more)


def takes(settings: type[Settings]) -> Callable[[Callable[[Settings], None]], Callable[..., None]]:
    """Turn ``command(settings)`` into a function that Typer reads: one parameter for each option of ``settings``.

    ``settings`` is a frozen dataclass. A field is an option (``Annotated`` with :func:`option`) or a group, which is
    again such a dataclass. Names must differ over all groups.
    """

    def decorate(command: Callable[[Settings], None]) -> Callable[..., None]:
        @wraps(command)
        def call(**values: Any) -> None:
            command(_build(settings, values))

        parameters = sorted(_parameters(settings), key=_panel_number)
        call.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        call.__annotations__ = {one.name: one.annotation for one in parameters}
        return call

    return decorate


def _options(settings: Any) -> Iterator[tuple[Field, Any]]:
    hints = get_type_hints(settings, include_extras=True)
    return ((field, hints[field.name]) for field in fields(settings))


def _parameters(settings: Any) -> Iterator[inspect.Parameter]:
    for field, hint in _options(settings):
        if is_dataclass(hint):
            yield from _parameters(hint)
        else:
            default = field.default if field.default_factory is MISSING else field.default_factory()
            default = inspect.Parameter.empty if default is MISSING else default
            yield inspect.Parameter(field.name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=hint)


def _panel_number(parameter: inspect.Parameter) -> int:
    panel = parameter.annotation.__metadata__[0].rich_help_panel
    return PANELS.index(panel) if panel else -1


def _build(settings: Any, values: dict[str, Any]) -> Any:
    """An instance of ``settings``; every value is taken from ``values``, and ``KeyError`` when one is missing."""
    made = {f.name: _build(hint, values) if is_dataclass(hint) else values[f.name] for f, hint in _options(settings)}
    return settings(**made)
