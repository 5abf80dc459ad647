"""What `init` writes, and commands that commands print: each can be typed as it stands."""

from __future__ import annotations

import json
import os
import pty
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import typer
from hypothesis import given
from hypothesis import strategies as st

from carft.catalog.catalog import BUILT_IN
from carft.core.errors import PROGRAM, typed, typed_report
from carft.data.folder.named import checked_name, tasks_in
from carft.data.sets import picture
from carft.store.records import Store
from carft_cli.app import app
from carft_cli.console import typed_again
from carft_cli.init import task_name
from sweeps.recipes.loading import load_recipe
from tests.carft.data.test_tables import rows_of
from tests.support.folder import Folder, draw_pets
from tests.support.helpers import ROOT, TASK, cli_command, environment, run_cli
from tests.support.planted import Plan, plant
from tests.support.serial import run_serially


@given(st.text(max_size=80))
def test_any_folder_has_a_name_for_its_task(given_name: str) -> None:
    assert checked_name(task_name(given_name))


def test_a_project_folder_is_written_once_and_its_files_are_read(tmp_path: Path) -> None:
    draw_pets(tmp_path)
    model = ("--model", "icons-resnet", "--pretrained", "icons-3")
    asked = ("init", tmp_path / "pets", "--hold-out", "scan,sketch", "--to", tmp_path / "audit", *model)
    written = run_cli(*asked, "--json")
    assert written.returncode == 0, written.stderr
    assert json.loads(written.stdout)["task"] == "my-pets"
    (task,) = tasks_in(tmp_path / "audit" / "carft.yaml")
    assert (task.id_domains, task.ood_domains, task.classes[2]) == (("photo",), ("scan", "sketch"), "guinea pig")
    recipe = load_recipe(str(tmp_path / "audit" / "recipe.yaml"))
    assert (recipe.model, recipe.tasks_file) == ("icons-resnet", str(tmp_path / "audit" / "carft.yaml"))
    assert "../pets" in (tmp_path / "audit" / "carft.yaml").read_text()
    plain = run_cli(*asked[:5], tmp_path / "other")
    assert "my-pets" in plain.stdout and "An image of scan: a scan of a {}." in plain.stdout
    again = run_cli(*asked)
    assert again.returncode == 2 and "exists already" in again.stderr


def draw(root: Path, *classes: str, domain: str = "", count: int = 12) -> None:
    for label, name in enumerate(classes):
        (root / domain / name).mkdir(parents=True)
        for number in range(count):
            picture(label, len(domain), number).save(root / domain / name / f"{name}-{number}.png")


def test_several_folders_become_a_family(tmp_path: Path) -> None:
    for task in ("jabłko ñ", "two words"):
        for domain in ("photo", "inverted"):
            draw(tmp_path / "shop" / task, "cat", "guinea pig", domain=domain)
    (tmp_path / "shop" / "two words" / "photo" / "cat" / "late.HEIC").write_bytes(b"not read")
    folders = sorted((tmp_path / "shop").iterdir())
    done = run_cli("init", *folders, "--hold-out", "inverted", "--to", tmp_path / "audit")
    assert done.returncode == 0, done.stderr
    assert "Files that are not read: 1 .heic" in done.stdout
    tasks = tasks_in(tmp_path / "audit" / "carft.yaml")
    assert [task.name for task in tasks] == ["shop/jabłko-ñ", "shop/two-words"]
    assert tasks[0].prompts == ("an inverted of a {}.", "a photo of a {}.")
    assert load_recipe(str(tmp_path / "audit" / "recipe.yaml")).tasks_file
    twice = run_cli("init", folders[0], folders[0], "--hold-out", "inverted", "--to", tmp_path / "other")
    assert twice.returncode == 2 and "Two tasks would be called shop/jabłko-ñ" in twice.stderr


def test_the_domains_that_are_held_out_are_named_and_held_out_whole(tmp_path: Path) -> None:
    draw(tmp_path / "zoo", "cat", "dog", domain="photo", count=20)
    for label, name in enumerate(("cat", "dog")):
        (tmp_path / "zoo" / "art" / name).mkdir(parents=True)
        for number in range(8):
            picture(label, 1, number).save(tmp_path / "zoo" / "art" / name / f"drawn-{name}-{number}.png")
    for words, says in (((), "--hold-out photo to train on art"), (("--hold-out", "arts"), "Did you mean art")):
        refused = run_cli("init", tmp_path / "zoo", "--to", tmp_path / "none", *words)
        assert refused.returncode == 2 and says in refused.stderr and not (tmp_path / "none").exists()
    held = run_cli("init", tmp_path / "zoo", "--to", tmp_path / "whole", "--hold-out", "art")
    assert held.returncode == 0, held.stderr
    assert "An image of art: an art of a {}." in held.stdout and "Would a person use these words?" in held.stdout
    (task,) = tasks_in(tmp_path / "whole" / "carft.yaml")
    assert len(BUILT_IN.with_tasks([task]).unseal(task.name, Folder()).suites["art"]) == 16
    assert task.id_domains == ("photo",)


def test_on_a_terminal_the_held_out_domains_are_asked_for(tmp_path: Path) -> None:
    draw_pets(tmp_path)
    ours, theirs = pty.openpty()
    os.write(ours, b"sketch,scan\n")
    command = cli_command("init", tmp_path / "pets", "--to", tmp_path / "audit")
    done = subprocess.run(command, stdin=theirs, stdout=theirs, stderr=theirs, env=environment(), cwd=ROOT, check=False)
    os.close(theirs)
    os.close(ours)
    assert done.returncode == 0
    (task,) = tasks_in(tmp_path / "audit" / "carft.yaml")
    assert (task.id_domains, task.ood_domains) == (("photo",), ("scan", "sketch"))


def test_file_names_of_several_classes_are_warned_of(tmp_path: Path) -> None:
    for domain in ("photo", "sketch"):
        for label, name in enumerate(("cat", "dog")):
            folder = tmp_path / "pets" / domain / name
            folder.mkdir(parents=True)
            for number in range(12):
                picture(label, len(domain), number).save(folder / f"pic_{number:03d}.png")
    asked = ("init", tmp_path / "pets", "--hold-out", "sketch", "--to", tmp_path / "audit")
    (warning,) = (line for line in json.loads(run_cli(*asked, "--json").stdout)["warnings"] if "several" in line)
    assert "12 of 12 file names stand in several classes, 'pic_000' in cat, dog first" in warning


@pytest.mark.slow
@pytest.mark.full
def test_every_step_of_the_page_on_your_data_runs(tmp_path: Path) -> None:
    pd.DataFrame(rows_of(tmp_path)).to_csv(tmp_path / "images.csv", index=False)
    page = (ROOT / "docs" / "your-data.md").read_text(encoding="utf-8")
    lines = re.findall(r"^python cli\.py (.*)$", page, re.MULTILINE)
    assert len(lines) == 7
    for line in lines:
        if "CELL" in line:
            store = Store(tmp_path / "my-audit" / "results")
            line = line.replace("CELL", next(cell for cell in store.ids() if store.read(cell).cell.method == "ft"))
        done = run_serially(*shlex.split(line), folder=tmp_path)
        assert done.returncode == 0, f"{line}\n{done.stdout}{done.stderr}"
    (block,) = re.findall(r"^```python\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    shown = subprocess.run([sys.executable, "-c", block], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert shown.returncode == 0 and "car_ft" in shown.stdout, shown.stderr
    assert (tmp_path / "my-audit" / "report" / "index.html").is_file()
    verdicts = pd.read_csv(tmp_path / "my-audit" / "report" / "tables" / "verdicts.csv")
    assert {"C3", "C4"} <= set(verdicts["claim"])
    assert (tmp_path / "my-model" / "open_clip_config.json").is_file()


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


@pytest.mark.full
@pytest.mark.slow
def test_the_printed_next_steps_lead_from_images_to_a_report(tmp_path: Path, few_figures: None) -> None:
    for task in ("fruit", "two words"):
        for domain in ("photo", "sketch"):
            draw(tmp_path / "shop" / task, "cat", "dog", domain=domain)
    model = ("--model", "icons-resnet", "--pretrained", "icons-3")
    folders = [str(tmp_path / "shop" / task) for task in ("fruit", "two words")]
    words: list[str] = ["init", *folders, "--hold-out", "sketch", "--to", str(tmp_path / "my audit"), *model]
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


def test_commands_that_answer_from_files_print_what_can_be_typed(tmp_path: Path, few_figures: None) -> None:
    store = Store(tmp_path / "my results")
    plant(store, [TASK], Plan(top1=LEVELS, context=LEVELS))
    unpacked, commands = tmp_path / "un packed", {}
    folders = ("--results", store.root)
    asked = [
        ("ls", "cells", store.ids()[0], *folders),
        ("results", "export", tmp_path / "packed.zip", *folders),
        ("results", "import", tmp_path / "packed.zip", "--to", unpacked),
        ("plan", "miniature", "--tasks", TASK, *folders),
        ("report", *folders, "--out", tmp_path / "a report"),
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
