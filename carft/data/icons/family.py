"""The family of the icons worlds: nine tasks, all in one, and one domain left out in turn. No torch."""

from carft.core.errors import typed
from carft.data.card import STANDARD, Card
from carft.data.facts import imagenet_templates
from carft.data.family import Family, Pool
from carft.data.icons.world import DEFAULT, ICONS_2, ICONS_3, SUPERSEDED, World, nine_tasks, tasks


def cards(world: World = DEFAULT) -> dict[str, Card]:
    """Return the cards of a world's tasks, by name."""
    return {name: _card(world, name, classes) for name, classes in tasks(world).items()}


def _card(world: World, name: str, classes: tuple[str, ...]) -> Card:
    suites, left_out = tuple(world.suites), ""
    has_domain_left_out = name.startswith(world.domains)
    if has_domain_left_out:
        held_out = name.removeprefix(world.domains)
        suites, left_out = (held_out,), f"; {held_out} are left out of training"
    which = "All" if has_domain_left_out or name == world.all else "Which"
    templates = tuple(world.prompts.values())  # one prompt per context
    bare = tuple(f"{context.replace('-', ' ')} {{}}" for context in world.prompts)
    return Card(
        name=name,
        measures=f"{which} drawn things: {', '.join(classes[:4])}, ...{left_out}",
        scale="miniature",
        version=world.version,
        superseded=SUPERSEDED if world is DEFAULT else {},
        classes=classes,
        templates=templates,
        suites=suites,
        has_test=not has_domain_left_out,
        group="drawing",
        metric="top1",
        licence="Icons under MIT, Apache-2.0, ISC, OFL-1.1, BSD-3-Clause, CC0-1.0, CC-BY-3.0 and CC-BY-4.0 (NOTICE)",
        source="Collections of the npm package @iconify/json",
        model="icons-resnet",
        pretrained=world.prefix,
        loader="carft.data.icons.tasks",
        banks={STANDARD: templates, "imagenet": imagenet_templates(), "domains": bare},
        contexts=templates,
    )


#: task -> card, of all worlds
CARDS: dict[str, Card] = {**cards(ICONS_2), **cards(ICONS_3)}


def _pools(world: World) -> tuple[Pool, ...]:
    """Return the pools of a world, each with the command that fills it. The recipes' own tasks are of icons-3."""
    full = tuple(name for name in CARDS if name.startswith(world.full))
    domains = tuple(name for name in CARDS if name.startswith(world.domains))
    groups = (
        (world.prefix, "several", "nine icon tasks", nine_tasks(world), "downstream"),
        (world.full[:-1], "several", "nine icon tasks, full test sets", full, "miniature-full"),
        (world.all, "single", "all icons in one task", (world.all,), "readings"),
        (world.domains[:-1], "domainbed", "icons, one domain left out", domains, "domainbed"),
    )
    pools = []
    for name, kind, title, own, recipe in groups:
        command = typed("sweep", recipe)
        if world is not ICONS_3 or recipe == "readings":
            chosen = ",".join(own) if name == world.prefix else name
            command = typed("sweep", recipe, "--tasks", chosen)
        if world is not DEFAULT:
            title = f"{title} ({world.version})"
        pools.append(Pool(name, kind, title, own, command, CARDS[own[0]], built_in=True))
    return tuple(pools)


FAMILY = Family("icons", CARDS, built_in_pools=(*_pools(ICONS_2), *_pools(ICONS_3)), order=1)
