"""What the packages import is what the project declares, and its bounds keep out versions with known holes."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
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


@pytest.mark.parametrize("has_uv", [True, False])
def test_make_installs_from_the_lock_where_uv_is_and_with_pip_elsewhere(tmp_path: Path, has_uv: bool) -> None:
    for name in ("make", "python3"):
        (tmp_path / name).symlink_to(str(shutil.which(name)))
    if has_uv:
        (tmp_path / "uv").write_text("#!/bin/sh\n")
        (tmp_path / "uv").chmod(0o755)
    command = ["make", "--dry-run", "--always-make", "TORCH=cpu", ".venv/bin/.installed"]
    environment = {"PATH": str(tmp_path), "SHELL": "/bin/sh"}
    printed = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True).stdout
    words = [line.split() for line in printed.replace("\\\n", " ").splitlines()]
    installs = [line for line in words if "install" in line]
    uses_lock = ["requirements.lock" in line and "--require-hashes" in line for line in installs]
    assert len(installs) == 2 and all((line[0] == str(tmp_path / "uv")) == has_uv for line in installs)
    assert uses_lock == [has_uv, False] and "constraints.txt" in installs[1]
    assert ("--torch-backend" in installs[1]) == has_uv


def test_every_dependency_has_its_reason() -> None:
    page = (ROOT / "docs" / "dependencies.md").read_text(encoding="utf-8")
    assert [one.name for one in DECLARED.values() if f"`{one.name}" not in page] == []
