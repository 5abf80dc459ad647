"""What the packages import is what the project declares, and its bounds keep out versions with known holes."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import packages_distributions

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.support.helpers import ROOT

PACKAGES = ("carft", "carft_cli", "sweeps", "reports")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRA = PROJECT["optional-dependencies"]["train"]
DECLARED = {canonicalize_name(one.name): one for one in map(Requirement, [*PROJECT["dependencies"], *EXTRA])}
PINNED = dict(re.findall(r"^([\w.-]+)==(\S+)$", (ROOT / "constraints.txt").read_text(), re.MULTILINE))


def imported_modules() -> Iterator[tuple[str, str]]:
    """(file, first component of a module that it imports), also of imports inside functions."""
    for package in PACKAGES:
        for path in (ROOT / package).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Import):
                    names = [alias.name for alias in node.names]
                else:
                    names = [node.module] if isinstance(node, ast.ImportFrom) and node.module else []
                for name in names:
                    yield str(path.relative_to(ROOT)), name.partition(".")[0]


def test_every_module_that_is_imported_comes_from_a_declared_dependency() -> None:
    known, undeclared = packages_distributions(), set()
    for path, module in imported_modules():
        if module in PACKAGES or module in sys.stdlib_module_names:
            continue
        distributions = {canonicalize_name(name) for name in known.get(module, [module])}
        if not distributions & set(DECLARED):
            undeclared.add((path, module))
    assert undeclared == set()


@pytest.mark.parametrize(
    ("name", "with_a_hole"),
    [("ray", "2.58.9"), ("torch", "2.9.1"), ("torchvision", "0.24.1"), ("pillow", "12.1.1")],
)
def test_versions_with_known_holes_are_kept_out(name: str, with_a_hole: str) -> None:
    assert with_a_hole not in DECLARED[name].specifier


def test_every_pinned_dependency_satisfies_its_bound() -> None:
    pinned = {canonicalize_name(name): version for name, version in PINNED.items()}
    free = {name for name in DECLARED if name not in pinned}
    assert free == {"torch", "torchvision"}
    assert [
        name for name, version in pinned.items() if name in DECLARED and version not in DECLARED[name].specifier
    ] == []


def test_every_dependency_has_its_reason() -> None:
    page = (ROOT / "docs" / "dependencies.md").read_text(encoding="utf-8")
    assert [one.name for one in DECLARED.values() if f"`{one.name}" not in page] == []
