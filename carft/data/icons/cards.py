"""The cards of the icons tasks."""

from __future__ import annotations

from carft.data.card import STANDARD, Card
from carft.data.facts import imagenet_templates
from carft.data.icons.world import DOMAINS, PROMPTS, SUITES, SUPERSEDED, VERSION, tasks

#: classes of the largest of the nine tasks are fewer
MOST = 100
#: one prompt per context
TEMPLATES = tuple(PROMPTS.values())
#: prompts that hold the name of the context and the class, without other words
BARE = tuple(f"{context.replace('-', ' ')} {{}}" for context in PROMPTS)


def _card(name: str, classes: tuple[str, ...]) -> Card:
    held_out = name.removeprefix(DOMAINS) if name.startswith(DOMAINS) else ""
    left_out = f"; {held_out} are left out of training" if held_out else ""
    return Card(
        name=name,
        measures=f"{'All' if len(classes) > MOST else 'Which'} drawn things: {', '.join(classes[:4])}, ...{left_out}",
        scale="miniature",
        version=VERSION,
        superseded=SUPERSEDED,
        classes=classes,
        templates=TEMPLATES,
        suites=(held_out,) if held_out else tuple(SUITES),
        has_test=not held_out,
        group="drawing",
        metric="top1",
        licence="Icons under MIT, Apache-2.0, ISC, OFL-1.1, BSD-3-Clause, CC0-1.0, CC-BY-3.0 and CC-BY-4.0 (NOTICE)",
        source="Collections of the npm package @iconify/json",
        model="icons-resnet",
        pretrained="icons",
        loader="carft.data.icons.domains" if held_out else "carft.data.icons.tasks",
        banks={STANDARD: TEMPLATES, "imagenet": imagenet_templates(), "domains": BARE},
        contexts=TEMPLATES,
    )


CARDS: dict[str, Card] = {name: _card(name, classes) for name, classes in tasks().items()}
