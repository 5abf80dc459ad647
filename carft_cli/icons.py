"""The built-in world: look at it, make its weights again."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from carft.core.errors import UserError, unknown
from carft.data.icons.world import DEFAULT, WORLDS, World
from carft_cli.console import err, new_table, out, percent
from carft_cli.options import given, writing

WorldOption = Annotated[str, typer.Option("--world", help="Version of the built-in world, such as icons-3.")]

icons = typer.Typer(no_args_is_help=True, help="The built-in world: look at it, make its weights again.")


@icons.command()
def preview(
    path: Annotated[Path, typer.Option("--out", help="The PNG to write.")] = Path("icons.png"),
    version: WorldOption = DEFAULT.version,
) -> None:
    """Draw a contact sheet: classes x contexts.

    Example: `python cli.py icons preview --out icons.png`
    """
    from carft.data.icons.rendering import contact_sheet

    if path.suffix != ".png" or not path.parent.is_dir():
        raise UserError(f"'{path}' cannot be written here.", "Give --out a .png file in a folder that exists.")
    with writing(path):
        contact_sheet(_world(version)).save(path)
    out.print(f"Open: {path.resolve()}", soft_wrap=True)


@icons.command()
def pretrain(
    folder: Annotated[Path, typer.Option("--out", help="Where the weights go.")] = Path("pretraining"),
    model: Annotated[str, typer.Option(help="icons-resnet or icons-vit.")] = "icons-resnet",
    epochs: Annotated[
        int | None, typer.Option(min=1, help="Passes over the images; default: as for the shipped weights.")
    ] = None,
    version: WorldOption = DEFAULT.version,
) -> None:
    """Make the built-in weights again, and print their zero-shot table.

    Example: `python cli.py icons pretrain --out pretraining`
    """
    import torch

    from carft.data.icons.pretraining import MODELS, pretrain, pretraining_drawings, shipped_recipe, zero_shot_table
    from carft.models.clip import load_pretrained

    if model not in MODELS:
        raise unknown("built-in model", model, MODELS)
    torch.set_num_threads(1)  # as for the shipped weights
    recipe = replace(shipped_recipe(model, _world(version).version), **given(epochs=epochs))
    with writing(folder):
        path = pretrain(recipe, folder, log=lambda line: err.print(line, style="dim")).resolve()
    clip = load_pretrained(model, str(path)).clip
    rows = zero_shot_table(model, clip, pretraining_drawings(recipe.world), world=recipe.world)
    table = new_table("context", "zero-shot class", "zero-shot context")
    for name, row in rows.items():
        table.add_row(name, percent(row["class"]), percent(row["context"]))
    out.print(table)
    out.print(f"Weights: {path}", soft_wrap=True)


def _world(version: str) -> World:
    if version not in WORLDS:
        raise unknown("built-in world", version, WORLDS)
    return WORLDS[version]
