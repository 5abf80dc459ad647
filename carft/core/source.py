"""What is declared in modules of a package, entry points that other packages install, and digests of code."""

import hashlib
import sys
from functools import cache
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from pkgutil import iter_modules
from typing import Any, TypeVar

from carft.core.errors import UserError

T = TypeVar("T")


def declared(package: str, kind: type[T]) -> list[T]:
    """Return the objects of a type in all modules of a package: modules by name, and each in the order of its file."""
    modules = [import_module(f"{package}.{module.name}") for module in iter_modules(import_module(package).__path__)]
    found = []
    for module in modules:
        found += [value for value in vars(module).values() if isinstance(value, kind)]
    return found


def text_digest(text: str) -> str:
    """Return 16 hexadecimal digits of sha256 of a text."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]


@cache
def installed(group: str) -> dict[str, EntryPoint]:
    """Return the entry points of a group by name. They are not imported."""
    return {entry.name: entry for entry in entry_points(group=group)}


def loaded(entry: EntryPoint) -> Any:
    """Return what an entry point names. Raises ``UserError`` if it cannot be imported."""
    try:
        return entry.load()
    except Exception as error:  # the code of others may raise anything
        raise UserError(
            f"The entry point '{entry.name}' of {entry.group}, {entry.value}, cannot be loaded: {error}.",
            "Mend or uninstall the package that has it.",
        ) from error


def tree_digest(root: Path, *suffixes: str) -> str:
    """Return the sha256 of all files below a folder, or of those with these suffixes, and of their names."""
    digest = hashlib.sha256()
    for path in sorted(root.rglob("*")):
        is_asked = not suffixes or path.suffix in suffixes
        if is_asked and path.is_file() and "__pycache__" not in path.parts:
            name = path.relative_to(root).as_posix()
            digest.update(name.encode() + b"\0" + hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


@cache
def code_digest(root: Path = Path(__file__).parents[1]) -> str:
    """Return 16 hexadecimal digits of sha256 of the code and the cards of methods in ``carft``, which compute cells.

    A comment counts too. What plans cells, reports on them or documents them does not.
    """
    return tree_digest(root, ".py", ".yaml")[:16]


def module_digest(module: str) -> str:
    """Return a digest of the source of an imported module: of its file, or of all Python files of its package."""
    top = sys.modules[module.partition(".")[0]]
    file = getattr(top, "__file__", None)
    if not file:
        files = [Path(str(sys.modules[module].__file__))]
    elif hasattr(top, "__path__"):
        files = sorted(Path(file).parent.rglob("*.py"))
    else:
        files = [Path(file)]
    root = files[0].parent
    text = ""
    for path in files:
        text += f"{path.relative_to(root)}\0{path.read_text('utf-8')}\0"
    return text_digest(text)
