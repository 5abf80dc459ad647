"""A world was registered before its weights existed: the history of the repository shows the order."""

from __future__ import annotations

import hashlib
import re
import subprocess

import pytest

from tests.support.helpers import ROOT

#: weights of a world -> its registration
REGISTRATIONS = {
    "carft/data/icons/weights/icons-3-resnet.safetensors": "benchmarks/icons_3_gate.yaml",
}


def git(*arguments: str) -> list[str]:
    done = subprocess.run(("git", *arguments), cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"no git history here: {done.stderr.strip()}")
    return done.stdout.split()


#: the same of an example, whose own page names the digest
EXAMPLES = {"examples/photographs/clip/open_clip_model.safetensors": "examples/photographs/gate.yaml"}


@pytest.mark.parametrize(("path", "registration"), {**REGISTRATIONS, **EXAMPLES}.items())
def test_criteria_and_candidates_are_older_than_the_weights(path: str, registration: str) -> None:
    if git("rev-parse", "--is-shallow-repository") == ["true"]:
        pytest.skip("the history of this checkout is cut off")
    registered = git("log", "--diff-filter=A", "--format=%H", "--", registration)
    weights = git("log", "--format=%H", "--", path)
    if not registered or not weights:
        pytest.skip("the history of this checkout does not hold registration and weights")
    newest = weights[0]
    assert registered[-1] != newest
    git_order = subprocess.run(("git", "merge-base", "--is-ancestor", registered[-1], newest), cwd=ROOT, check=False)
    assert git_order.returncode == 0


def test_the_page_names_the_digests_of_what_passed() -> None:
    page = (ROOT / "docs" / "icons-world.md").read_text(encoding="utf-8")
    named = dict(re.findall(r"\| `(carft/data/icons/\S+)` \| `([0-9a-f]{64})` \|", page))
    assert set(REGISTRATIONS) <= set(named)
    for path, digest in named.items():
        assert hashlib.sha256((ROOT / path).read_bytes()).hexdigest() == digest, path


@pytest.mark.parametrize("path", EXAMPLES)
def test_the_page_of_an_example_names_the_digest_of_its_weights(path: str) -> None:
    page = (ROOT / path).parents[1] / "README.md"
    assert hashlib.sha256((ROOT / path).read_bytes()).hexdigest() in page.read_text(encoding="utf-8")
