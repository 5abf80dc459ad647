"""Methods from outside this package: a Python file, or the entry points ``carft.methods`` (docs/extending.md).

A plugin marks the class of its method with :func:`method`. No torch, unless the plugin imports it.
"""

import linecache
import math
import re
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cache
from importlib.abc import InspectLoader
from importlib.machinery import ModuleSpec
from keyword import iskeyword
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any, TypeVar

from carft.config.cell import Reading
from carft.config.registry import PLUGIN_MODULE, MethodCard, Range
from carft.core.errors import UserError
from carft.core.files import read_given
from carft.core.source import installed, loaded, module_digest, text_digest

GROUP = "carft.methods"
_NAME = re.compile(r"[a-z][a-z0-9_]{0,39}")
Class = TypeVar("Class", bound=type)


def method(
    *,
    space: Mapping[str, Range],
    shares: Mapping[str, str],
    reads: tuple[str, ...],
    whole_batch: bool,
    epoch_passes: int,
    **fields: Any,
) -> Callable[[Class], Class]:
    """Mark a class as a trained method. The arguments are the fields of :class:`carft.config.registry.MethodCard`."""

    def mark(kind: Class) -> Class:
        kind.card = MethodCard(  # type: ignore[attr-defined]
            kind="trained",
            implementation=f"{kind.__module__}:{kind.__qualname__}",
            space=dict(space),
            shares=dict(shares),
            reads=tuple(reads),
            whole_batch=whole_batch,
            epoch_passes=epoch_passes,
            **fields,
        )
        return kind

    return mark


def read_plugins(paths: Sequence[Path]) -> tuple[tuple[str, str], ...]:
    """Return file name and text of plugin files. Raises ``UserError`` for a file that cannot be read."""
    return tuple((path.name, read_given(path, "plugin", "Give the path of a Python file.")) for path in paths)


@cache
def methods_in(file: str, text: str) -> tuple[MethodCard, ...]:
    """Run the text of a plugin file and return its methods; the same text is run once.

    Raises ``UserError`` for a text that fails, has no method, or has a card that contradicts itself.
    """
    digest = text_digest(text)
    name = f"{PLUGIN_MODULE}{digest}"
    module = _run(name, file, text)
    kinds = [value for value in vars(module).values() if isinstance(value, type) and value.__module__ == name]
    cards = [vars(kind)["card"] for kind in kinds if "card" in vars(kind)]
    if not cards:
        raise UserError(f"The plugin '{file}' has no method.", "Mark a class with @method (docs/extending.md).")
    for card in cards:
        check_card(card, file)
    return tuple(replace(card, digest=digest) for card in cards)


class _Text(InspectLoader):
    """Imports a module from its text."""

    def __init__(self, text: str, file: str) -> None:
        self.text, self.file = text, file

    def get_source(self, fullname: str) -> str:
        return self.text

    def get_code(self, fullname: str) -> CodeType:
        return self.source_to_code(self.text, self.file)


def _run(name: str, file: str, text: str) -> ModuleType:
    loader = _Text(text, f"<{file}>")
    module = ModuleType(name)
    module.__file__ = loader.file
    module.__spec__ = ModuleSpec(name, loader)
    sys.modules[name] = module
    linecache.cache[module.__file__] = (len(text), None, text.splitlines(True), module.__file__)
    try:
        loader.exec_module(module)
    except UserError:
        raise
    except Exception as error:  # the code of others may raise anything
        line = _line_of(error, module.__file__)
        raise UserError(f"{file}{line}: {type(error).__name__}: {error}.", f"Fix the error in {file}{line}.") from error
    return module


def _line_of(error: Exception, file: str) -> str:
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == file]
    line = lines[-1] if lines else getattr(error, "lineno", None)  # that of a SyntaxError
    return f", line {line}" if line else ""


@cache
def installed_method(name: str) -> MethodCard | None:
    """Import the installed method of this name; None if there is none.

    The entry point of a method has the method's name and leads to its class.
    """
    if (entry := installed(GROUP).get(name)) is None:
        return None
    kind = loaded(entry)
    card = getattr(kind, "card", None)
    if not isinstance(card, MethodCard) or card.name != name:
        raise UserError(
            f"The entry point '{name}' of {GROUP} leads to no method of that name.",
            "It must lead to a class that is marked with @method (docs/extending.md).",
        )
    check_card(card, entry.value)
    return replace(card, digest=module_digest(kind.__module__))


def check_card(card: MethodCard, source: str) -> None:
    """Raise ``UserError`` for a card that contradicts itself."""
    problems = []
    if not is_method_name(card.name):
        problems.append("its name needs small letters, digits and _")
    if not (card.label.strip() and card.summary.strip()):
        problems.append("label and summary must say something")
    for name, limits in card.space.items():
        is_ordered = 0 <= limits.low <= limits.first_guess <= limits.high < math.inf
        is_drawn = card.kind == "trained"  # in the logarithm, which 0 does not have
        if not is_ordered or (limits.low == 0 and (is_drawn or not limits.zero_allowed)):
            problems.append(f"the range of {name} is not low <= first_guess <= high above 0")
    for name in card.shares:
        if name not in card.space:
            problems.append(f"it shares {name}, which its space does not have")
    for name in card.reads:
        if name not in Reading.__dataclass_fields__:
            problems.append(f"there is no reading factor {name}")
    if card.epoch_passes < 0 or card.first_passes < 0:
        problems.append("passes must not be negative")
    if card.kind == "trained" and not card.space:
        problems.append("a trained method needs a hyperparameter to search")
    if problems:
        raise UserError(
            f"{source}: the method '{card.name}' cannot be: {'; '.join(problems)}.", "See docs/extending.md."
        )


def is_method_name(name: str) -> bool:
    """Return whether a method can have this name."""
    return _NAME.fullmatch(name) is not None and not iskeyword(name)
