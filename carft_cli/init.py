"""A small project folder for your own data."""

from __future__ import annotations

import os
import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from carft.core.errors import UserError
from carft.core.files import given_path
from carft_cli.console import out, print_json, program
from carft_cli.new import write_template
from carft_cli.options import AsJson, ModelOptions, given, writing

if TYPE_CHECKING:
    from carft.data.folder.tree import Tree

TASKS, RECIPE, README = "carft.yaml", "recipe.yaml", "README.md"


def init(
    data: Annotated[Path, typer.Argument(help="A folder of images, or a table (docs/folder.md).")],
    to: Annotated[Path, typer.Option("--to", help="The folder to write.")] = Path("my-audit"),
    model: Annotated[str | None, typer.Option(help="An open_clip model; default: that of downstream.")] = None,
    pretrained: Annotated[str | None, typer.Option(help="Its weights: a tag, or a file.")] = None,
    as_json: AsJson = False,
) -> None:
    """Look at your images and write a project folder: tasks file, recipe, and a README with three commands.

    Example: `python cli.py init images.csv --to my-audit`
    """
    from carft.data.catalog import card
    from carft.data.folder.cards import folder_task
    from carft.data.folder.layout import read
    from carft.data.folder.table import table_notes
    from carft.data.folder.tasks import unmeasured
    from carft.training.execution import Execution

    model, pretrained = ModelOptions(model, pretrained).weights()
    tree = read(given_path(data))
    known = card(folder_task(data))
    paths = {name: to / name for name in (TASKS, RECIPE, README)}
    if found := next((path for path in paths.values() if path.exists()), None):
        raise UserError(f"'{found}' exists already.", "Give another folder: --to FOLDER")
    name = task_name(tree.base.name if tree.root == tree.base else tree.root.stem)
    entry = _entry(tree, name, to)
    _write(paths[TASKS], {"tasks": [entry]}, "Domains, classes and prompts as they were found; edit what is wrong.")
    recipe = {"extends": "downstream", "tasks_file": TASKS, **given(model=model, pretrained=pretrained)}
    recipe |= {"trials": 4, "seeds": 3}
    _write(paths[RECIPE], recipe, "What is not said here is that of `recipes show downstream`.")
    words = {"name": name, "measures": f"{len(tree.words)} classes; {known.measures.partition(': ')[2]}"}
    write_template(paths[README], "readme.md.txt", {**words, "program": program(), "folder": shlex.quote(str(to))})
    warnings = [*known.warnings(), *unmeasured(known), *filter(None, [known.refusal(Execution())])]
    if as_json:
        print_json({"task": name, "paths": [str(path) for path in paths.values()], "warnings": warnings})
        return
    images = sum(map(len, tree.images.values()))
    lines = [f"Task {name}: {images} images, {len(tree.splits)} groups, {len(tree.words)} classes."]
    if "id_domains" in entry:
        inside, outside = (", ".join(entry[key]) for key in ("id_domains", "ood_domains"))
        lines.append(f"Trained on: {inside}; held out: {outside}. Edit id_domains and ood_domains in {paths[TASKS]}.")
    for line in (*lines, *table_notes(tree), *(f"Warning: {words_}" for words_ in warnings)):
        out.say(line)
    out.print(f"Written: {', '.join(map(str, paths.values()))}", soft_wrap=True)
    asked = f"{shlex.quote(str(paths[RECIPE]))} --results {shlex.quote(str(to / 'results'))}"
    out.say(f"Next: python cli.py plan {asked}")


def task_name(given: str) -> str:
    """Return a name that a task can have, from the name of a folder or table."""
    from carft.data.catalog import TAKEN
    from carft.data.folder.named import LONGEST

    plain = re.sub(r"[^A-Za-z0-9.+()-]+", "-", given).strip(".+()-")[: LONGEST - 3] or "images"
    return f"my-{plain}" if plain in TAKEN else plain


def _entry(tree: Tree, name: str, to: Path) -> dict[str, Any]:
    where = Path(os.path.relpath(tree.root, to.resolve())).as_posix()
    entry: dict[str, Any] = {"name": name, "path": where}
    if len(tree.domains) > 1:
        entry |= {"id_domains": list(tree.domains[:1]), "ood_domains": list(tree.domains[1:])}
        entry["prompts"] = dict(zip(tree.domains, tree.prompts, strict=True))
    entry["class_names"] = dict(zip(tree.folders, tree.words, strict=True))
    return entry


def _write(path: Path, content: dict[str, Any], note: str) -> None:
    import yaml

    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        text = yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=120)
        path.write_text(f"# {note}\n{text}", encoding="utf-8")
