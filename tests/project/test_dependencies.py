"""What the packages import is what the project declares, and what is locked satisfies it."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import packages_distributions

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.support.helpers import ROOT

PACKAGES = ("carft", "carft_cli", "sweeps", "reports")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"]
#: extras of tools for development
OF_DEVELOPMENT = {"dev", "docs"}
DECLARED = {}
for extra, names in {"": PROJECT["dependencies"], **EXTRAS}.items():
    if extra not in OF_DEVELOPMENT:
        DECLARED |= {canonicalize_name(one.name): one for one in map(Requirement, names)}
#: module -> distribution, of clients of trackers, which are not installed for development
CLIENTS = {"wandb": "wandb", "mlflow": "mlflow-skinny"}
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
        distributions = {canonicalize_name(name) for name in known.get(module, [CLIENTS.get(module, module)])}
        if not distributions & set(DECLARED):
            undeclared.add((path, module))
    assert undeclared == set()


def test_the_lock_has_every_dependency_with_hashes_and_no_address() -> None:
    """As `make lock` writes it; torch and torchvision are chosen where it is installed."""
    text = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    assert "://" not in text
    locked: dict[str, str] = {}
    for entry in re.split(r"\n(?=\S)", text.strip()):
        requirement, *hashes = entry.replace("\\", " ").split("--hash=")
        one = Requirement(requirement.strip())
        locked[canonicalize_name(one.name)] = str(one.specifier).removeprefix("==")
        assert hashes and all(re.fullmatch(r"sha256:[0-9a-f]{64}\s*", digest) for digest in hashes), one.name
    needed = dict(DECLARED)
    for name in OF_DEVELOPMENT:
        needed |= {canonicalize_name(one.name): one for one in map(Requirement, EXTRAS[name])}
    free = {"torch", "torchvision", "carft", "wandb", "mlflow-skinny"}
    assert needed.keys() - locked.keys() == free and not {"torch", "torchvision"} & locked.keys()
    pinned = {canonicalize_name(name): version for name, version in PINNED.items()}
    assert [name for name in pinned.keys() & locked.keys() if pinned[name] != locked[name]] == []
    assert [name for name in needed.keys() - free if locked[name] not in needed[name].specifier] == []


def test_every_dependency_has_its_reason() -> None:
    page = (ROOT / "docs" / "dependencies.md").read_text(encoding="utf-8")
    assert [one.name for one in DECLARED.values() if f"`{one.name}" not in page] == []
