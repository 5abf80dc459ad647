"""The package as a user installs it: a wheel in another folder, with a method and claims of one's own."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from carft.store.records import Store
from tests.support.folder import draw_pets
from tests.support.helpers import ROOT
from tests.support.planted import Plan, plant

pytestmark = [pytest.mark.slow, pytest.mark.full]
PACKAGES = ("carft", "carft_cli", "sweeps", "reports")
#: of the project's folder, what a wheel is built from
SOURCES = ("pyproject.toml", "README.md", "LICENSE", "NOTICE")
CLAIM = "claims:\n  - {id: N1, title: CAR-FT loses nothing, first: car_ft, second: ft, set: id, margin: -50}\n"
BUILT_IN = ("--model", "icons-resnet", "--pretrained", "icons-3")


@dataclass(frozen=True)
class Installed:
    """A wheel that was unpacked into a folder, and an empty folder to work in."""

    site: Path
    work: Path

    def run(self, *arguments: object, code: int = 0) -> str:
        """Run the console script in the empty folder; returns standard output, and fails unless it ends with ``code``.

        The folder comes before the packages of this interpreter, which has all that the project depends on.
        """
        environment = {**os.environ, "PYTHONPATH": str(self.site), "COLUMNS": "80"}
        command = [sys.executable, str(self.site / "bin" / "carft"), *map(str, arguments)]
        done = subprocess.run(command, cwd=self.work, env=environment, capture_output=True, text=True, timeout=900)
        assert done.returncode == code, f"{arguments}\n{done.stdout}{done.stderr}"
        return done.stdout


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Installed:
    """The project, built from a copy of its sources and installed without network."""
    root = tmp_path_factory.mktemp("wheel")
    for name in PACKAGES:
        shutil.copytree(ROOT / name, root / "source" / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in SOURCES:
        shutil.copy(ROOT / name, root / "source" / name)
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    built = [*pip, "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", str(root), str(root / "source")]
    subprocess.run(built, check=True, timeout=600)
    (wheel,) = root.glob("carft-*.whl")
    target = ["--target", str(root / "site"), str(wheel)]
    subprocess.run([*pip, "install", "--no-deps", "--no-index", "--no-compile", *target], check=True, timeout=600)
    (root / "work").mkdir()
    return Installed(root / "site", root / "work")


def test_the_wheel_is_what_runs(installed: Installed) -> None:
    code = f"import {', '.join(PACKAGES)}\nfor m in ({', '.join(PACKAGES)}): print(m.__file__)"
    environment = {**os.environ, "PYTHONPATH": str(installed.site)}
    asked = {"cwd": installed.work, "env": environment, "capture_output": True, "text": True, "check": True}
    found = subprocess.run([sys.executable, "-c", code], **asked).stdout.splitlines()  # type: ignore[call-overload]
    assert len(found) == len(PACKAGES) and all(Path(line).is_relative_to(installed.site) for line in found)


def test_a_method_of_one_s_own_is_trained_from_a_wheel_elsewhere(installed: Installed) -> None:
    written = installed.run("init", "--method", "near", "--to", ".")
    assert "carft " in written and "cli.py" not in written
    training = ("train", "--task", "icons-3/mix-6", "--method", "near", "--lr", "3e-4", "--set", "weight=1")
    installed.run(*training, "--plugin", "near.py", "--epochs", 1, "--results", "single")
    (single,) = Store(installed.work / "single").records()
    assert single.cell.method == "near" and single.cell.plugin


def test_claims_of_one_s_own_are_decided_from_a_wheel_elsewhere(installed: Installed) -> None:
    plan = Plan({"zeroshot": 0.5, "ft": 0.6, "car_ft": 0.75}, {"zeroshot": 0.9, "ft": 0.6, "car_ft": 0.9})
    plant(Store(installed.work / "results"), ("icons-3/all",), plan)
    (installed.work / "claims.yaml").write_text(CLAIM)
    asked = ("report", "--results", "results", "--out", "report", "--claims", "claims.yaml", "--json")
    (own,) = [v for v in json.loads(installed.run(*asked))["verdicts"] if v["claim"] == "N1"]
    assert own["verdict"] == "suggested reproduced" and own["effect"] is not None
    assert "CAR-FT loses nothing" in (installed.work / "report" / "index.html").read_text(encoding="utf-8")


def test_a_project_folder_names_the_program_that_wrote_it(installed: Installed) -> None:
    draw_pets(installed.work)
    said = installed.run("init", "pets", "--hold-out", "sketch", "--to", "audit", *BUILT_IN)
    assert "Next: carft plan audit/recipe.yaml" in said
    assert "\ncarft sweep audit/recipe.yaml" in (installed.work / "audit" / "README.md").read_text()
    installed.run("plan", "audit/recipe.yaml", "--json")
