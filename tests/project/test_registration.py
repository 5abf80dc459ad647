"""A world was registered before its weights existed: the history of the repository shows the order."""

from __future__ import annotations

import hashlib
import subprocess

import pytest

from tests.support.helpers import ROOT

#: weights of a world -> its registration, and the page that names the digest of the weights
WORLDS = {
    "carft/data/icons/weights/icons-3-resnet.safetensors": ("benchmarks/icons_3_gate.yaml", "docs/icons-world.md"),
    "examples/photographs/clip/open_clip_model.safetensors": (
        "examples/photographs/gate.yaml",
        "examples/photographs/README.md",
    ),
}


def git(*arguments: str) -> list[str]:
    done = subprocess.run(("git", *arguments), cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"no git history here: {done.stderr.strip()}")
    return done.stdout.split()


@pytest.mark.parametrize("path", WORLDS)
def test_criteria_and_candidates_are_older_than_the_weights(path: str) -> None:
    registered = git("log", "--diff-filter=A", "--format=%H", "--", WORLDS[path][0])
    weights = git("log", "--format=%H", "--", path)
    if git("rev-parse", "--is-shallow-repository") == ["true"] or not registered or not weights:
        pytest.skip("the history of this checkout does not hold registration and weights")
    assert registered[-1] != weights[0]
    order = ("git", "merge-base", "--is-ancestor", registered[-1], weights[0])
    assert subprocess.run(order, cwd=ROOT, check=False).returncode == 0


@pytest.mark.parametrize("path", WORLDS)
def test_the_page_names_the_digest_of_what_passed(path: str) -> None:
    page = (ROOT / WORLDS[path][1]).read_text(encoding="utf-8")
    assert hashlib.sha256((ROOT / path).read_bytes()).hexdigest() in page
