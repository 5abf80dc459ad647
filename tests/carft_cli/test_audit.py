"""`audit`: several sweeps and one report, from one command."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from tests.support.helpers import TASK, run_cli
from tests.support.serial import run_serially

AUDIT = """
name: mine
question: Does it hold?
parts:
  - {name: untrained, answers: what the pretrained model does, recipe: miniature, methods: [zeroshot]}
  - {name: trained, answers: C3, recipe: miniature, methods: [zeroshot, ft], seeds: 1}
smoke_tasks: {miniature: icons/transport}
"""


@pytest.fixture
def asked(tmp_path: Path) -> list[object]:
    (tmp_path / "mine.yaml").write_text(AUDIT, encoding="utf-8")
    return [tmp_path / "mine.yaml", "--smoke", "--results", tmp_path / "results", "--out", tmp_path / "report"]


def parts_said(done: subprocess.CompletedProcess[str]) -> list[str]:
    assert done.returncode == 0, done.stderr
    return [line for line in done.stderr.splitlines() if line.startswith("Part ")]


@pytest.mark.slow
@pytest.mark.full
@pytest.mark.usefixtures("few_figures_here")
def test_an_audit_runs_its_parts_in_order(asked: list[object]) -> None:
    heads = parts_said(run_serially("audit", *asked))
    assert heads[0] == "Part 1 of 2: untrained. What the pretrained model does."
    assert heads[1].startswith("Part 1 of 2: untrained: 1 cell done, 0 found done, 0 failed")
    assert heads[2] == "Part 2 of 2: trained. C3."
    assert heads[3].startswith("Part 2 of 2: trained: 3 cells done, 1 found done, 0 failed")


@pytest.mark.slow
@pytest.mark.usefixtures("few_figures_here")
def test_an_audit_runs_what_is_left_of_its_parts_once_and_writes_one_report(asked: list[object]) -> None:
    """What the first part wants is on record."""
    zero_shot = ("train", "--task", TASK, "--method", "zeroshot", "--unseal", "--results", asked[3])
    assert run_cli(*zero_shot).returncode == 0
    plan = run_cli("audit", *asked, "--dry-run", "--json", in_process=True)
    facts = json.loads(plan.stdout)["parts"]
    assert [(fact["part"], fact["cells"], fact["left"]) for fact in facts] == [("untrained", 1, 0), ("trained", 4, 3)]

    first = run_serially("audit", *asked, "--private", "icons/*")
    heads = parts_said(first)
    assert heads[:2] == ["Part 1 of 2: untrained: done before.", "Part 2 of 2: trained. C3."]
    assert heads[2].startswith("Part 2 of 2: trained: 3 cells done, 1 found done, 0 failed")
    pictures = Path(str(asked[-1]), "pictures")
    assert " private images have no picture." in first.stdout and not list(pictures.glob("*"))
    assert "Does it hold?" in first.stdout and "not run" in first.stdout.lower()
    assert Path(str(asked[-1]), "index.html").is_file()

    again = run_cli("audit", *asked, "--json", in_process=True)
    assert again.returncode == 0, again.stderr
    assert "Part 1 of 2: untrained: done before." in again.stderr and "Nothing is left to run." in again.stderr
    assert {verdict["claim"] for verdict in json.loads(again.stdout)["verdicts"]} >= {"C1", "C3"}
    assert list(pictures.glob("*.jpg"))
    assert run_cli("audit", *asked, "--no-images", in_process=True).returncode == 0 and not list(pictures.glob("*"))


def test_a_part_that_cannot_run_stops_the_audit_before_it_starts(tmp_path: Path) -> None:
    asked = ("paper", "--data", tmp_path, "--results", tmp_path / "results", "--out", tmp_path / "report")
    refused = run_cli("audit", *asked, in_process=True)
    assert refused.returncode == 2 and "Traceback" not in refused.stderr
    assert "is not here" in refused.stderr
    assert not (tmp_path / "results").exists() and not (tmp_path / "report").exists()
