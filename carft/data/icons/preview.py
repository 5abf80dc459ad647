"""A contact sheet of the world: drawings in their contexts."""

from __future__ import annotations

from PIL import Image, ImageDraw, ImageFont

from carft.data.icons.contexts import SIDE
from carft.data.icons.drawings import Drawing, census
from carft.data.icons.rendering import render
from carft.data.icons.world import DEFAULT, World

MARGIN_LEFT, MARGIN_TOP = 170, 90


def contact_sheet(world: World = DEFAULT) -> Image.Image:
    """Return training drawings of every class in every context. Each column shows another drawing of the class."""
    shown: dict[tuple[str, str], list[Drawing]] = {}
    for drawing in census():
        if drawing.split == "train":
            shown.setdefault((drawing.task, drawing.class_name), []).append(drawing)
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
