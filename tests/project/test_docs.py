"""What the documentation says can be done: its code runs, its commands parse, its links lead somewhere."""

from __future__ import annotations

import copy
import importlib
import importlib.util
import re
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import pytest
import torch
import typer

import carft
from carft.store.records import Store
from carft.training.context import CellContext
from carft_cli.app import app
from sweeps.recipes.loading import load_recipe
from sweeps.search.protocol import Protocol
from tests.support.helpers import ROOT
from tests.support.quotes import inlined

PAGES = sorted(
    [
        *ROOT.glob("*.md"),
        *ROOT.glob("docs/*.md"),
        *ROOT.glob("carft/data/icons/weights/*.md"),
        *ROOT.glob("examples/*/*.md"),
    ]
)


def python_blocks(page: Path) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```$", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


def commands(page: Path) -> list[str]:
    """Every command line of cli.py in a page, as its words after ``cli.py``."""
    text = page.read_text(encoding="utf-8")
    return [found.strip() for found in re.findall(r"python cli\.py ([^`#|\n]+)", text)]


def first_images(bench: CellContext, count: int = 8) -> tuple[torch.Tensor, torch.Tensor]:
    train = bench.task.train
    return bench.pretrained.normalise(train.images[:count]), train.labels[:count]


def test_the_loop_of_the_method_page_is_car_ft(bench: CellContext) -> None:
    (block,) = python_blocks(ROOT / "docs" / "method.md")
    model = copy.deepcopy(bench.pretrained.clip).requires_grad_(True)
    images, labels = first_images(bench)
    names: dict[str, Any] = {
        "model": model,
        "tokenizer": bench.pretrained.tokenize,
        "images": images,
        "labels": labels,
        "classes": bench.card.classes,
        "templates": bench.card.templates,
        "optimizer": torch.optim.AdamW(model.visual.parameters(), lr=1e-3),
    }
    exec(compile(block, "docs/method.md", "exec"), names)
    assert torch.isfinite(names["loss"])
    assert float(names["kl"].detach()) == pytest.approx(0, abs=1e-6)
    gradients = [p.grad for p in model.visual.parameters() if p.grad is not None]
    assert gradients and max(float(g.abs().max()) for g in gradients) > 0
    assert all(p.grad is None for p in names["frozen"].parameters())
    torch.testing.assert_close(names["contexts"], bench.prompts.contexts)
    with torch.no_grad():
        _, after = names["car_ft_loss"](images, labels)
    assert float(after) > 1e-4


def test_the_names_that_stay_are_those_of_the_method_page_and_load_torch_when_asked_for() -> None:
    page = (ROOT / "docs" / "method.md").read_text(encoding="utf-8")
    rows = re.search(r"\| `from carft import \.\.\.`.*?\n\n", page + "\n\n", re.DOTALL)
    assert rows is not None
    assert set(re.findall(r"`(\w+)`[,| ]", rows[0])) == set(carft.__all__)
    assert all(getattr(carft, name) is not None for name in carft.__all__)
    stub = (ROOT / "carft" / "__init__.pyi").read_text(encoding="utf-8")
    assert sorted(re.findall(r"import (\w+) as \1", stub)) == sorted(carft.__all__)
    light = "import sys, carft; assert not {'torch', 'pandas', 'pydantic'} & set(sys.modules)"
    assert subprocess.run([sys.executable, "-c", light], cwd=ROOT).returncode == 0


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_of_the_documentation_exist(page: Path) -> None:
    for line in commands(page):
        command: Any = typer.main.get_command(app)
        for word in line.split():
            if word.startswith("--"):
                known = {option for parameter in command.params for option in parameter.opts}
                assert word.split("=")[0] in known | {"--help"}, f"{page.name}: {line}"
            elif hasattr(command, "commands"):
                assert word in command.commands, f"{page.name}: {line}"
                command = command.commands[word]


def anchors(page: Path) -> set[str]:
    """The names by which links reach the headings of a page, as forges make them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_between_pages_lead_to_a_page_and_a_heading(page: Path) -> None:
    text = re.sub(r"```.*?```|`[^`\n]*`", "", inlined(page.read_text(encoding="utf-8")), flags=re.DOTALL)
    for target, anchor in re.findall(r"(?<!!)\[[^\]]*\]\(([^)#\s]*)#?([^)\s]*)\)", text):
        if not target.startswith("http"):
            path = page.parent / target if target else page
            assert path.exists(), f"{page.name}: {target}"
            assert path.suffix != ".md" or not anchor or anchor in anchors(path), f"{page.name}: {target}#{anchor}"


def script_of_docs(name: str) -> Any:
    """The module of a script in docs/."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "docs" / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_what_is_made_from_the_code_is_current() -> None:
    drawing = script_of_docs("rooms").drawing()
    ElementTree.fromstring(drawing)
    for name, made in {**script_of_docs("reference").pages(), "architecture.svg": drawing}.items():
        assert (ROOT / "docs" / name).read_text(encoding="utf-8") == made, f"{name}: run: make reference"


@pytest.mark.parametrize("page", [page for page in PAGES if page.name != "CHANGELOG.md"], ids=lambda page: page.name)
def test_every_path_and_module_that_a_page_names_exists(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    named = re.findall(r"`((?:carft|carft_cli|sweeps|reports|tests|benchmarks|deploy|docs)/[\w./*-]+)", text)
    for path in named:
        assert any(ROOT.glob(path)) if "*" in path else (ROOT / path).exists(), f"{page.name} names {path}"
    for module in re.findall(r"`((?:carft|carft_cli|sweeps|reports)(?:\.\w+)+)`", text):
        assert is_importable(module), f"{page.name} names {module}"


def is_importable(name: str) -> bool:
    """Whether a dotted name is a module, or an attribute of one."""
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:
        module, _, attribute = name.rpartition(".")
        return hasattr(importlib.import_module(module), attribute)


def test_the_documentation_is_short() -> None:
    """Words are counted as ``wc -w`` counts them: code, tables and targets of links included."""
    words = {page.name: len(page.read_text(encoding="utf-8").split()) for page in ROOT.glob("docs/*.md")}
    assert sum(words.values()) <= 20_000, words
    assert len((ROOT / "README.md").read_text(encoding="utf-8").split()) <= 600


def test_the_figure_of_the_readme_has_the_levels_of_the_published_tables() -> None:
    script = script_of_docs("two_worlds")
    drawn = re.findall(r"<text[^>]*>([\d.]+)</text>", script.TARGET.read_text(encoding="utf-8"))
    for world in script.WORLDS:
        for place in script.PLACES:
            for value in script.levels(world, place)["value"]:
                assert f"{value:.1f}" in drawn, (world, place)


def test_the_readme_counts_the_cells_of_the_demo(tmp_path: Path) -> None:
    total = Protocol(load_recipe("miniature").changed(), Store(tmp_path)).total()
    assert f"runs {total} cells" in (ROOT / "README.md").read_text(encoding="utf-8")
