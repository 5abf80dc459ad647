"""Options of a command: fields of a frozen dataclass, or made from a class of settings.

Such a dataclass inherits the options that several commands share. A field is one option (``Annotated`` with
:func:`option`), or a dict of the given ones of :class:`Options`.
"""

import inspect
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, dataclass, fields
from typing import Annotated, Any, Optional, TypeVar, get_type_hints

import typer
from pydantic.fields import FieldInfo

from carft.core.declaration import choices, described, plain_type

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

Declared = TypeVar("Declared")


def option(panel: str, text: str, *names: str, **more: Any) -> Any:
    """A Typer option with the help ``text``, printed in ``panel``. names: such as ``--json``; default: the field's."""
    return typer.Option(*names, help=text, rich_help_panel=panel, **more)


@dataclass(frozen=True)
class Options:
    """The options that are made from the described fields of a class of settings; those that are given, as a dict.

    panel: of the options that ``main`` names; all others are in the advanced one. of_recipe: whether the recipe has the
    defaults; they are then not shown, and a switch can be turned off.
    """

    settings: type
    panel: str
    main: tuple[str, ...] = ()
    of_recipe: bool = False

    @property
    def fields(self) -> dict[str, FieldInfo]:
        """The declarations that become options."""
        return described(self.settings)

    def parameters(self) -> Iterator[inspect.Parameter]:
        """The options, None where they are not given."""
        advanced = f"Advanced: {self.panel[0].lower()}{self.panel[1:]}"
        for name, field in self.fields.items():
            kind, words = plain_type(field.annotation), str(field.description)
            default = "the recipe's" if self.of_recipe else field.get_default()
            if default not in (None, False, ""):
                words = f"{words.removesuffix('.')}; default: {default}."
            panel = self.panel if name in self.main else advanced
            flags = []
            if kind is bool and not self.of_recipe:
                flags.append(f"--{name.replace('_', '-')}")
            names = "|".join(choices(field)) or None
            if names:
                kind = str  # so that the class of settings refuses, as everywhere
            made = option(panel, words, *flags, metavar=names)
            yield _parameter(name, Annotated[Optional[kind], made], None)  # noqa: UP045  # a type made at run time


def parameters_of(settings: Any) -> list[inspect.Parameter]:
    """One parameter for each option, by panels; in a panel a class's own go before those that it inherits."""
    hints = get_type_hints(settings, include_extras=True)
    declared = {field.name: field for field in fields(settings)}
    names: dict[str, None] = {}
    for kind in settings.__mro__:
        names |= dict.fromkeys(inspect.get_annotations(kind))
    parameters: list[inspect.Parameter] = []
    for name in names:
        made = _options_of(hints[name])
        if made:
            parameters += made.parameters()
            continue
        field = declared[name]
        default: Any = inspect.Parameter.empty
        if field.default_factory is not MISSING:
            default = field.default_factory()
        elif field.default is not MISSING:
            default = field.default
        parameters.append(_parameter(name, hints[name], default))
    return sorted(parameters, key=_panel_number)


def settings_of(settings: type[Declared], values: Mapping[str, Any]) -> Declared:
    """An instance of ``settings``; every value is taken from ``values``, and ``KeyError`` when one is missing."""
    given: dict[str, Any] = {}
    for name, hint in get_type_hints(settings, include_extras=True).items():
        made = _options_of(hint)
        if made:
            given[name] = {option: values[option] for option in made.fields if values[option] is not None}
        else:
            given[name] = values[name]
    return settings(**given)


def _parameter(name: str, hint: Any, default: Any) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=hint)


def _options_of(hint: Any) -> Options | None:
    for made in getattr(hint, "__metadata__", ()):
        if isinstance(made, Options):
            return made
    return None


def _panel_number(parameter: inspect.Parameter) -> int:
    panel = parameter.annotation.__metadata__[0].rich_help_panel
    return PANELS.index(panel) if panel else -1
