"""What a clone holds: no large file without a word, the registered weights, and one way to check a change."""

from __future__ import annotations

import hashlib
import subprocess

import pytest
import yaml

from tests.support.helpers import ROOT

LARGE = 2**20
#: weights of a world -> the page that names the digest of those that passed their registration
WEIGHTS = {
    "carft/data/icons/weights/icons-3-resnet.safetensors": "docs/icons-world.md",
    "examples/photographs/clip/open_clip_model.safetensors": "examples/photographs/README.md",
}


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


@pytest.mark.parametrize("path", WEIGHTS)
def test_the_page_names_the_digest_of_what_passed(path: str) -> None:
    page = (ROOT / WEIGHTS[path]).read_text(encoding="utf-8")
    assert hashlib.sha256((ROOT / path).read_bytes()).hexdigest() in page


@pytest.mark.parametrize("name", ["ci", "release"])
def test_workflows_call_what_ci_calls(name: str) -> None:
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / f"{name}.yml").read_text(encoding="utf-8"))
    (job,) = workflow["jobs"].values()
    assert {"run": ".ci/run"} in job["steps"]
