"""The cards of the icons tasks."""

from __future__ import annotations

from carft.data.card import STANDARD, Card
from carft.data.facts import imagenet_templates
from carft.data.icons.world import ALL, PROMPTS, VERSION, suites, tasks, templates


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
        licence="Icons under MIT, Apache-2.0, ISC, OFL-1.1, BSD-3-Clause, CC0-1.0, CC-BY-3.0 and CC-BY-4.0 (NOTICE)",
        source="Collections of the npm package @iconify/json",
        model="icons-resnet",
        pretrained="icons",
        loader="carft.data.icons.tasks",
        banks={STANDARD: templates(), "imagenet": imagenet_templates(), "domains": _bare()},
        contexts=templates(),
    )


def _bare() -> tuple[str, ...]:
    """Return prompts that hold the name of the context and the class, without other words."""
    return tuple(f"{context.replace('-', ' ')} {{}}" for context in PROMPTS)


CARDS: dict[str, Card] = {name: _card(name, classes) for name, classes in tasks().items()}
