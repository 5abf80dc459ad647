"""Options of a command: parameters of its function, one by one or in groups.

A group is a parameter whose type is a dataclass of options, which several commands share, or a dict of the given ones
of :class:`Options`.
"""

import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, is_dataclass
from typing import Annotated, Any, Optional

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
            hint: Any = Annotated[Optional[kind], made]  # noqa: UP045  # a type made at run time
            yield inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=hint)


def parameters_of(command: Callable[..., Any]) -> list[inspect.Parameter]:
    """One parameter for each option of a function or of a dataclass of options, by panels."""
    parameters: list[inspect.Parameter] = []
    for parameter in inspect.signature(command, eval_str=True).parameters.values():
        made = _made(parameter)
        if isinstance(made, Options):
            parameters += made.parameters()
        elif _is_group(parameter):
            parameters += parameters_of(parameter.annotation)
        else:
            parameters.append(parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY))
    return sorted(parameters, key=_panel_number)


def arguments_of(command: Callable[..., Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """What a function or dataclass is called with: its own part of the values of all options, in groups.

    Raises ``KeyError`` when the value of an option is missing.
    """
    arguments: dict[str, Any] = {}
    for parameter in inspect.signature(command, eval_str=True).parameters.values():
        name, group, made = parameter.name, parameter.annotation, _made(parameter)
        if isinstance(made, Options):
            arguments[name] = {option: values[option] for option in made.fields if values[option] is not None}
        elif _is_group(parameter):
            arguments[name] = group(**arguments_of(group, values))
        else:
            arguments[name] = values[name]
    return arguments


def _made(parameter: inspect.Parameter) -> Any:
    """What declares an option or a group: of Typer, or :class:`Options`; None for others."""
    return getattr(parameter.annotation, "__metadata__", (None,))[0]


def _is_group(parameter: inspect.Parameter) -> bool:
    return is_dataclass(parameter.annotation)


def _panel_number(parameter: inspect.Parameter) -> int:
    panel = getattr(_made(parameter), "rich_help_panel", None)
    return PANELS.index(panel) if panel else -1
