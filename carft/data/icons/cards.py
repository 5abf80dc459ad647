"""The cards of the icons tasks."""

from __future__ import annotations

from carft.data.card import STANDARD, Card
from carft.data.facts import imagenet_templates
from carft.data.icons.world import DEFAULT, IN_CATALOG, SUPERSEDED, World, tasks

#: classes of the largest of the nine tasks are fewer
MOST = 100


def cards(world: World = DEFAULT) -> dict[str, Card]:
    """Return the cards of a world's tasks, by name."""
    return {name: _card(world, name, classes) for name, classes in tasks(world).items()}


def _card(world: World, name: str, classes: tuple[str, ...]) -> Card:
    held_out = name.removeprefix(world.domains) if name.startswith(world.domains) else ""
    left_out = f"; {held_out} are left out of training" if held_out else ""
    templates = tuple(world.prompts.values())  # one prompt per context
    bare = tuple(f"{context.replace('-', ' ')} {{}}" for context in world.prompts)
    return Card(
        name=name,
        measures=f"{'All' if len(classes) > MOST else 'Which'} drawn things: {', '.join(classes[:4])}, ...{left_out}",
        scale="miniature",
        version=world.version,
        superseded=SUPERSEDED if world is DEFAULT else {},
        classes=classes,
        templates=templates,
        suites=(held_out,) if held_out else tuple(world.suites),
        has_test=not held_out,
        group="drawing",
        metric="top1",
        licence="Icons under MIT, Apache-2.0, ISC, OFL-1.1, BSD-3-Clause, CC0-1.0, CC-BY-3.0 and CC-BY-4.0 (NOTICE)",
        source="Collections of the npm package @iconify/json",
        model="icons-resnet",
        pretrained=world.prefix,
        loader="carft.data.icons.domains" if held_out else "carft.data.icons.tasks",
        banks={STANDARD: templates, "imagenet": imagenet_templates(), "domains": bare},
        contexts=templates,
    )


#: task -> card, of the worlds in the catalog
CARDS: dict[str, Card] = {name: card for world in IN_CATALOG for name, card in cards(world).items()}
