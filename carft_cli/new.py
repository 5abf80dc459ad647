"""Files to begin with: a method of your own."""

from __future__ import annotations

import shlex
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Annotated

import typer

from carft.core.commands import typed
from carft.core.errors import UserError
from carft_cli.console import out, print_json
from carft_cli.options import AsJson, writing

new_group = typer.Typer(no_args_is_help=True, help="Write files to begin with.", rich_markup_mode="markdown")


@new_group.callback()
def group() -> None:
    """Write files to begin with."""


@new_group.command()
def method(
    name: Annotated[str, typer.Argument(help="Name of the method: small letters, digits and _.")],
    to: Annotated[Path, typer.Option("--to", help="The folder to write to.")] = Path(),
    as_json: AsJson = False,
) -> None:
    """Write a method of your own that runs, as NAME.py, and a test of it.

    Example: `python cli.py new method my_method`
    """
    from carft.spec.plugins import is_method_name
    from carft.spec.registry import METHODS

    if not is_method_name(name):
        raise UserError(f"'{name}' cannot be the name of a method.", "Use small letters, digits and _.")
    if name in METHODS:
        raise UserError(f"There is a method '{name}' already.", "Take another name.")
    words = {"name": name, "label": name.replace("_", " "), "kind": "".join(p.title() for p in name.split("_"))}
    paths = [to / f"{name}.py", to / f"test_{name}.py"]
    if found := next((path for path in paths if path.exists()), None):
        raise UserError(f"'{found}' exists already.", "Take another name, or another folder with --to.")
    for path, template in zip(paths, ("method.py.txt", "test_method.py.txt"), strict=True):
        write_template(path, template, words)
    if as_json:
        print_json([str(path) for path in paths])
        return
    out.print(f"Written: {paths[0]}, {paths[1]}", soft_wrap=True)
    out.say(f"Test it:  python -m pytest {shlex.quote(str(paths[1]))}")
    methods = f"zeroshot,ft,{name}"
    out.say(f"Sweep it: {typed('sweep', 'downstream', '--plugin', str(paths[0]), '--methods', methods)}")


def write_template(path: Path, template: str, words: dict[str, str]) -> None:
    """Write a template of ``carft_cli/templates`` with its ``$words`` replaced."""
    text = files("carft_cli").joinpath("templates", template).read_text(encoding="utf-8")
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(Template(text).substitute(words), encoding="utf-8")
