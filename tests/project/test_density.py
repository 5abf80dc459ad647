"""How much a statement holds: packages stay readable from top to bottom, and a packed function is refused."""

from __future__ import annotations

import ast
import tomllib
from collections import Counter
from dataclasses import dataclass

import pytest

from tests.support.helpers import ROOT


@dataclass(frozen=True)
class Density:
    """Expressions in 1,000 lines that are not blank."""

    comprehensions: float
    """Also calls of ``map`` and ``filter``."""
    conditionals: float
    """Conditional expressions, ``a if b else c``."""
    nested: float
    """Comprehensions with more than one ``for``."""


#: package -> the most that it may have
LIMITS = {
    "carft": Density(comprehensions=30, conditionals=15, nested=1),
    "sweeps": Density(comprehensions=30, conditionals=15, nested=0),
    "reports": Density(comprehensions=30, conditionals=15, nested=0),
    "carft_cli": Density(comprehensions=30, conditionals=15, nested=0),
}

COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)


def counted(source: str) -> Counter[str]:
    """Count what :class:`Density` is about, and ``lines``, in the text of a module."""
    found = Counter(lines=sum(bool(line.strip()) for line in source.splitlines()))
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, COMPREHENSIONS):
            found["comprehensions"] += 1
            if len(node.generators) > 1:
                found["nested"] += 1
        elif isinstance(node, ast.IfExp):
            found["conditionals"] += 1
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("map", "filter"):
            found["comprehensions"] += 1
    return found


@pytest.mark.parametrize("package", LIMITS)
def test_a_statement_of_a_package_holds_one_thought(package: str) -> None:
    files = {path: counted(path.read_text(encoding="utf-8")) for path in (ROOT / package).rglob("*.py")}
    total: Counter[str] = Counter()
    for found in files.values():
        total += found
    for what, limit in vars(LIMITS[package]).items():
        most = max(files, key=lambda path: files[path][what])
        advice = f"{most.relative_to(ROOT)} has {files[most][what]}; write loops, named steps and `if` statements"
        assert 1000 * total[what] / total["lines"] <= limit, f"{what} of {package}: {advice}"


def test_every_package_has_a_limit() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert set(project["tool"]["importlinter"]["root_packages"]) == set(LIMITS)


def test_what_is_packed_is_counted() -> None:
    source = "\n".join(
        (
            "pairs = [(a, b) for a in range(3) for b in range(3) if a]",
            "names = {n: v if v else 0 for n, v in pairs}",
            "",
            "sizes = tuple(map(len, filter(None, names)))",
        )
    )
    assert counted(source) == {"lines": 3, "comprehensions": 4, "nested": 1, "conditionals": 1}
