"""Methods from outside this package: a Python file, or the entry points ``carft.methods`` (docs/extending.md).

A plugin marks the class of its method with :func:`method`. No torch, unless the plugin imports it.
"""

import linecache
import re
import sys
import traceback
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache
from inspect import signature
from keyword import iskeyword
from types import ModuleType
from typing import Any, TypeVar

from carft.config.registry import PLUGIN_MODULE, MethodCard, Range
from carft.core.errors import UserError
from carft.core.source import installed, loaded, module_digest, text_digest

GROUP = "carft.methods"
_NAME = re.compile(r"[a-z][a-z0-9_]{0,39}")
Class = TypeVar("Class", bound=type[Any])


def method(
    *,
    name: str,
    space: Mapping[str, Range],
    shares: Mapping[str, str],
    reads: tuple[str, ...],
    whole_batch: bool,
    epoch_passes: int,
    **fields: Any,
) -> Callable[[Class], Class]:
    """Mark a class as a trained method. The arguments are the fields of :class:`carft.config.registry.MethodCard`.

    Raises ``UserError`` for a card that contradicts itself.
    """
    if not _NAME.fullmatch(name) or iskeyword(name):
        raise UserError(f"'{name}' cannot be the name of a method.", "Write it in small letters, digits and _.")
    if not space:
        raise UserError(f"The method '{name}' needs a hyperparameter to search.", "Add it to its space.")
    signature(MethodCard).bind_partial(**fields)  # TypeError for a field that a card does not have

    def mark(kind: Class) -> Class:
        kind.card = MethodCard(
            name=name,
            kind="trained",
            implementation=f"{kind.__module__}:{kind.__qualname__}",
            space=space,
            shares=shares,
            reads=reads,
            whole_batch=whole_batch,
            epoch_passes=epoch_passes,
            **fields,
        )
        return kind

    return mark


@cache
def methods_in(file: str, text: str) -> tuple[MethodCard, ...]:
    """Run the text of a plugin file and return its methods; the same text is run once.

    Raises ``UserError`` for a text that fails or has no method.
    """
    digest = text_digest(text)
    module = ModuleType(f"{PLUGIN_MODULE}{digest}")
    module.__file__ = f"<{file}>"
    sys.modules[module.__name__] = module
    linecache.cache[module.__file__] = (len(text), None, text.splitlines(True), module.__file__)
    try:
        exec(compile(text, module.__file__, "exec"), vars(module))  # noqa: S102  # what --plugin is for
    except Exception as error:  # the code of others may raise anything
        place = file + _line_of(error, module.__file__)
        if isinstance(error, UserError):
            raise UserError(f"{place}: {error.message}", error.hint) from error
        raise UserError(f"{place}: {type(error).__name__}: {error}.", f"Fix the error in {place}.") from error
    cards = []
    for kind in vars(module).values():
        if isinstance(kind, type) and kind.__module__ == module.__name__ and "card" in vars(kind):
            cards.append(replace(vars(kind)["card"], digest=digest))
    if not cards:
        raise UserError(f"The plugin '{file}' has no method.", "Mark a class with @method (docs/extending.md).")
    return tuple(cards)


def _line_of(error: Exception, file: str) -> str:
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == file]
    line = lines[-1] if lines else getattr(error, "lineno", None)  # that of a SyntaxError
    return f", line {line}" if line else ""


@cache
def installed_method(name: str) -> MethodCard | None:
    """Import the installed method of this name; None if there is none.

    The entry point of a method has the method's name and leads to its class.
    """
    entry = installed(GROUP).get(name)
    if entry is None:
        return None
    kind = loaded(entry)
    card = getattr(kind, "card", None)
    if not isinstance(card, MethodCard) or card.name != name:
        raise UserError(
            f"The entry point '{name}' of {GROUP} leads to no method of that name.",
            "It must lead to a class that is marked with @method (docs/extending.md).",
        )
    return replace(card, digest=module_digest(kind.__module__))
