"""Commands that commands print: each can be typed as it stands, and the next step is another one."""

from __future__ import annotations

import re
import shlex
import sys
from pathlib import Path
from typing import Any

import pytest
import typer

from carft.core.commands import PROGRAM, typed, typed_report
from carft.store.records import Store
from carft_cli.app import app
from carft_cli.console import typed_again
from tests.carft_cli.test_init import draw
from tests.support.helpers import TASK, run_cli
from tests.support.planted import Plan, plant
from tests.support.serial import run_serially

LEVELS = {"zeroshot": 0.5, "ft": 0.6, "car_ft": 0.7}
#: a command that stands at the end of a line
COMMAND = re.compile(rf"^(.*?){PROGRAM} (.*)$", re.MULTILINE)


def printed(text: str) -> list[tuple[str, list[str]]]:
    """(what stands before it on its line, words) of every command of a text; each is parsed as it would be to run."""
    commands = [(before.strip(), shlex.split(words)) for before, words in COMMAND.findall(text)]
    for _, words in commands:
        parse(words)
    return commands


def parse(words: list[str]) -> None:
    """Parse a command, and its values, without running it."""
    command: Any = typer.main.get_command(app)
    context = None
    while hasattr(command, "resolve_command"):
        context = command.make_context("cli", [*words], parent=context)
        if not (words := [*context._protected_args, *context.args]):
            return
        _, command, words = command.resolve_command(context, words)
    command.make_context("command", [*words], parent=context)


@pytest.mark.slow
def test_the_printed_next_steps_lead_from_images_to_a_report(tmp_path: Path) -> None:
    for task in ("fruit", "two words"):
        for domain in ("photo", "sketch"):
            draw(tmp_path / "shop" / task, "cat", "dog", domain=domain)
    model = ("--model", "icons-resnet", "--pretrained", "icons")
    words: list[str] = ["init", str(tmp_path / "shop"), "--to", str(tmp_path / "my audit"), *model]
    steps = []
    while words:
        done = run_serially(*words)
        assert done.returncode == 0, f"{words}\n{done.stdout}{done.stderr}"
        steps.append(words[0])
        following = [command for before, command in printed(done.stdout) if before == "Next:"]
        words, before = following[0] if following else [], words
        assert words != before
        words += ["--smoke"] if words[:1] == ["plan"] else []
    assert steps == ["init", "plan", "sweep", "report"]
    assert (tmp_path / "my audit" / "report" / "index.html").is_file()
    audit = tmp_path / "my audit"
    again = run_cli("plan", audit / "recipe.yaml", "--smoke", "--results", audit / "results")
    assert [words[0] for before, words in printed(again.stdout) if before == "Next:"] == ["report"]
    assert "on at least 5 tasks of one family, and this one has 2" in done.stdout


def test_commands_that_answer_from_files_print_what_can_be_typed(tmp_path: Path) -> None:
    store = Store(tmp_path / "my results")
    plant(store, [TASK], Plan(top1=LEVELS, context=LEVELS), curves=False)
    unpacked, commands = tmp_path / "un packed", {}
    folders = ("--results", store.root)
    asked = [
        ("new", "method", "mine", "--to", tmp_path / "two words"),
        ("show", store.ids()[0], *folders),
        ("results", "export", tmp_path / "packed.zip", *folders),
        ("results", "import", tmp_path / "packed.zip", "--to", unpacked),
        ("plan", "miniature", "--tasks", TASK, *folders),
        ("report", *folders, "--out", tmp_path / "a report"),
        ("audit", "--smoke", "--dry-run", *folders),
    ]
    for words in asked:
        done = run_cli(*words, in_process=True)
        assert done.returncode in (0, 1), done.stderr
        commands[" ".join(map(str, words[:2]))] = [command for _, command in printed(done.stdout)]
    assert ["report", "--results", str(unpacked), "--out", f"{unpacked}-report"] in commands["results import"]
    assert all(str(store.root) in command for command in commands["report --results"])
    refused = run_cli("ls", "cells", "--results", tmp_path / "not here")
    assert printed(refused.stderr)[0][1] == ["sweep", "downstream", "--results", str(tmp_path / "not here")]


def test_a_command_is_printed_again_with_what_it_was_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["cli.py", "plan", "my recipe.yaml", "--json", "--gpus", "1"])
    assert typed_again("--json", command="sweep", more="--retry-failed") == (
        f"{PROGRAM} sweep 'my recipe.yaml' --gpus 1 --retry-failed"
    )
    assert typed_again(more="--json").count("--json") == 1


@pytest.mark.parametrize(
    ("results", "options"),
    [
        ("results", ""),
        ("mine", " --results mine --out mine-report"),
        ("a/results", " --results a/results --out a/report"),
        ("s3://bucket/mine", " --results s3://bucket/mine --out mine-report"),
    ],
)
def test_every_results_folder_has_a_report_of_its_own(results: str, options: str) -> None:
    assert typed_report(results) == typed("report") + options
