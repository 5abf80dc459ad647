"""Contact sheets of the world: drawings in their contexts, and all drawings of each class."""

from __future__ import annotations

from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from carft.data.icons.contexts import SIDE
from carft.data.icons.drawings import GLYPH_SIDE, Drawing, census, mask
from carft.data.icons.rendering import render
from carft.data.icons.world import DEFAULT, World

MARGIN_LEFT, MARGIN_TOP = 170, 90
COLUMNS = 14


def contact_sheet(world: World = DEFAULT) -> Image.Image:
    """Return training drawings of every class in every context. Each column shows another drawing of the class."""
    shown = _by_class("train")
    names = list(world.prompts)
    size = (MARGIN_LEFT + SIDE * len(names), MARGIN_TOP + SIDE * len(shown))
    sheet = Image.new("RGB", size, "white")
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(11)
    for column, name in enumerate(names):
        label = Image.new("L", (MARGIN_TOP, 16), 255)
        ImageDraw.Draw(label).text((2, 2), name, fill=0, font=font)
        sheet.paste(label.rotate(90, expand=True).convert("RGB"), (MARGIN_LEFT + SIDE * column + 24, 0))
    for row, ((task, class_name), drawings) in enumerate(shown.items()):
        top = MARGIN_TOP + SIDE * row
        pen.text((4, top + SIDE // 2 - 6), f"{task}: {class_name}", fill=0, font=font)
        for column, name in enumerate(names):
            image = Image.fromarray(render(drawings[column % len(drawings)], name, 0, world))
            sheet.paste(image, (MARGIN_LEFT + SIDE * column, top))
    return sheet


def write_census(folder: Path) -> list[Path]:
    """Write one sheet a class with all its drawings, first cuts, numbered in the order of the census."""
    paths = []
    for (task, class_name), drawings in _by_class().items():
        path = folder / f"{task}-{class_name.replace(' ', '-')}.png"
        _class_sheet(f"{task}: {class_name}", drawings).save(path)
        paths.append(path)
    return paths


def _class_sheet(title: str, drawings: list[Drawing]) -> Image.Image:
    cell = GLYPH_SIDE + 18
    sheet = Image.new("RGB", (COLUMNS * cell, 24 + -(-len(drawings) // COLUMNS) * cell), "white")
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(12)
    pen.text((4, 4), f"{title}, {len(drawings)} drawings", fill=0, font=font)
    for number, drawing in enumerate(drawings):
        left, top = number % COLUMNS * cell, 24 + number // COLUMNS * cell
        pen.text((left + 4, top), f"{number} {drawing.split}", fill=(170, 0, 0), font=font)
        sheet.paste(Image.fromarray(255 - mask(drawing, 0)).convert("RGB"), (left + 4, top + 15))
    return sheet


def _by_class(split: str | None = None) -> dict[tuple[str, str], list[Drawing]]:
    shown: dict[tuple[str, str], list[Drawing]] = {}
    for drawing in census():
        if split in (None, drawing.split):
            shown.setdefault((drawing.task, drawing.class_name), []).append(drawing)
    return shown
