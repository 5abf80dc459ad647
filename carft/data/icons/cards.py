"""The cards of the icons tasks."""

from __future__ import annotations

from carft.data.card import STANDARD, Card
from carft.data.icons.world import ALL, VERSION, suites, tasks, templates


def _card(name: str, classes: tuple[str, ...]) -> Card:
    return Card(
        name=name,
        measures=f"{'All' if name == ALL else 'Which'} drawn things: {', '.join(classes[:4])}, ...",
        scale="miniature",
        version=VERSION,
        classes=classes,
        templates=templates(),
        suites=suites(),
        group="drawing",
        metric="top1",
        licence="Fonts under OFL-1.1, Apache-2.0, MIT, ISC, CC-BY-4.0 and CC-BY-SA (NOTICE)",
        source="Glyphs of the fonts in the wheels qtawesome and iconipy",
        model="icons-resnet",
        pretrained="icons",
        loader="carft.data.icons.tasks",
        banks={STANDARD: templates()},
        contexts=templates(),
    )


CARDS: dict[str, Card] = {name: _card(name, classes) for name, classes in tasks().items()}
