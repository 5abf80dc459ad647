"""What a clone holds: no large file without a word, and one way to check a change."""

from __future__ import annotations

import subprocess

import pytest
import yaml

from tests.support.helpers import ROOT

LARGE = 2**20


def git(*arguments: str) -> str:
    done = subprocess.run(("git", *arguments), cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"no git repository here: {done.stderr.strip()}")
    return done.stdout


def test_large_files_are_named_in_gitattributes() -> None:
    large = [name for name in git("ls-files", "-z").split("\0") if (ROOT / name).is_file()]
    large = [name for name in large if (ROOT / name).stat().st_size > LARGE]
    attributes = git("check-attr", "diff", "--", *large).splitlines()
    assert large and attributes == [f"{name}: diff: unset" for name in large]


@pytest.mark.parametrize("name", ["ci", "release"])
def test_workflows_call_what_ci_calls(name: str) -> None:
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / f"{name}.yml").read_text(encoding="utf-8"))
    (job,) = workflow["jobs"].values()
    assert {"run": ".ci/run"} in job["steps"]
