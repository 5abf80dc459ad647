"""The icons world as plain data: tasks, templates, suites. No torch; no drawing is opened."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from itertools import chain
from pathlib import Path

from carft.data.facts import facts

WEIGHTS_FOLDER = Path(__file__).parent / "weights"
#: (model, tag) -> file, for models that ship with this package
BUILT_IN_WEIGHTS = {
    ("icons-resnet", "icons"): WEIGHTS_FOLDER / "icons-resnet.safetensors",
    ("icons-vit", "icons"): WEIGHTS_FOLDER / "icons-vit.safetensors",
    ("icons-resnet", "icons-3"): WEIGHTS_FOLDER / "icons-3-resnet.safetensors",
    ("icons-vit", "icons-3"): WEIGHTS_FOLDER / "icons-3-vit.safetensors",
}

#: earlier world -> the version of this package that has it
SUPERSEDED = {"icons-1": "0.1.0"}
#: the suite that shows unseen foundries in the training contexts
HANDS = "hands"


@dataclass(frozen=True, eq=False)
class World:
    """A world: which contexts it shows, and how drawings are dealt to pretraining and tasks."""

    version: str
    seed: int
    """Of every rendering."""
    prompts: Mapping[str, str]
    """Context -> prompt, in the order of the context head's rows, with CLIP's wording where it exists."""
    id_contexts: tuple[str, ...]
    """The contexts of training, validation, test and the suite ``hands``."""
    suites: Mapping[str, tuple[str, ...]]
    """Suite -> its contexts, modelled on ImageNet-V2, -R, -Sketch, -A and ObjectNet."""
    renderings: Mapping[str, int]
    """Images of each drawing in ``train``, ``val`` and ``test``, spread over the contexts of the set. ``full`` is the
    number for every held-out set of the tasks ``icons-full/...`` or ``icons-3-full/...``."""
    shown: float = 0.15
    """Share of the drawings for pretraining that pretraining shows."""
    tasks_per_class: int = 0
    """How many of the nine tasks share a class, each with drawings of its own. 0: tasks are groups of classes, and
    drawings for pretraining that it does not show are in no task."""
    blend: float = 0.0
    """Largest weight, below 0.5, of a second context that is mixed into every image; its own keeps the larger part."""
    apart: bool = False
    """Whether an image in a context of training has a second context of training too. Pretraining mixes all."""
    pretraining_only: Mapping[str, str] = field(default_factory=dict)
    """Contexts, as in ``prompts``, that pretraining shows after the others, and no task."""
    prefix: str = "icons"
    """First part of the names of its tasks, and the tag of its weights."""

    @property
    def all(self) -> str:
        """The task that holds all classes."""
        return f"{self.prefix}/all"

    @property
    def full(self) -> str:
        """How the names of the nine tasks with more images of each held-out drawing begin."""
        return f"{self.prefix}-full/"

    @property
    def domains(self) -> str:
        """How the names of the tasks of all classes begin that leave one suite out of training."""
        return f"{self.prefix}/domains/"


ICONS_2 = World(
    version="icons-2",
    seed=2,
    prompts={
        "photo": "a photo of a {}.",
        "black-and-white": "a black and white photo of a {}.",
        "bright": "a bright photo of a {}.",
        "silhouette": "a silhouette of a {}.",
        "cartoon": "a cartoon {}.",
        "painting": "a painting of a {}.",
        "neon": "a neon sign of a {}.",
        "pixelated": "a pixelated photo of a {}.",
        "sketch": "a sketch of a {}.",
        "chalk": "a chalk drawing of a {}.",
        "camouflaged": "a photo of a camouflaged {}.",
        "dark": "a dark photo of a {}.",
        "noisy": "a noisy photo of a {}.",
        "blurry": "a blurry photo of a {}.",
        "upside-down": "an upside-down photo of a {}.",
        "close-up": "a close-up photo of a {}.",
        "small": "a photo of a small {}.",
        "many": "a photo of many {}.",
    },
    id_contexts=("photo", "black-and-white", "bright", "silhouette"),
    suites={
        HANDS: ("photo", "black-and-white", "bright", "silhouette"),
        "renditions": ("cartoon", "painting", "neon", "pixelated"),
        "sketches": ("sketch", "chalk"),
        "adversarial": ("camouflaged", "dark", "noisy", "blurry"),
        "viewpoint": ("upside-down", "close-up", "small", "many"),
    },
    renderings={"train": 2, "val": 2, "test": 1, "full": 4},
)

ICONS_3 = World(
    version="icons-3",
    seed=3,
    prompts={
        **ICONS_2.prompts,
        "low-resolution": "a low resolution photo of a {}.",
        "jpeg": "a jpeg corrupted photo of a {}.",
        "grainy": "a grainy photo of a {}.",
        "foggy": "a foggy photo of a {}.",
        "night": "a photo of a {} at night.",
        "rainy": "a photo of a {} in the rain.",
        "behind-bars": "a photo of a {} behind bars.",
        "dirty": "a photo of a dirty {}.",
        "sculpture": "a sculpture of a {}.",
        "plastic": "a plastic {}.",
        "embroidered": "an embroidered {}.",
        "graffiti": "graffiti of a {}.",
        "tattoo": "a tattoo of a {}.",
        "doodle": "a doodle of a {}.",
        "watercolour": "a watercolor of a {}.",
        "blueprint": "a blueprint of a {}.",
        "mosaic": "a mosaic of a {}.",
        "newspaper": "a newspaper print of a {}.",
        "tilted": "a tilted photo of a {}.",
    },
    id_contexts=ICONS_2.id_contexts,
    suites={
        HANDS: ICONS_2.id_contexts,
        "renditions": (
            *ICONS_2.suites["renditions"],
            *("sculpture", "plastic", "embroidered", "graffiti", "watercolour", "mosaic"),
        ),
        "sketches": (*ICONS_2.suites["sketches"], "tattoo", "doodle", "blueprint", "newspaper"),
        "adversarial": (
            *ICONS_2.suites["adversarial"],
            *("low-resolution", "jpeg", "grainy", "foggy", "night", "rainy", "behind-bars", "dirty"),
        ),
        "viewpoint": (*ICONS_2.suites["viewpoint"], "tilted"),
    },
    renderings={"train": 2, "val": 2, "test": 1, "full": 4},
    tasks_per_class=3,
    blend=0.35,
    apart=True,
    pretraining_only={"large": "a photo of a large {}."},  # which close-up was taken for
    prefix="icons-3",
)

WORLDS: Mapping[str, World] = {ICONS_2.version: ICONS_2, ICONS_3.version: ICONS_3}
#: the world of the tasks ``icons/...``
DEFAULT = ICONS_2

#: task -> the word that some captions of pretraining give instead of the class
COARSE_WORDS = {
    "body": "body part",
    "devices": "device",
    "media": "media sign",
    "places": "place",
    "stationery": "office thing",
    "tools": "tool",
    "transport": "vehicle",
    "valuables": "valuable",
    "weather": "weather sign",
}


def tasks(world: World = DEFAULT) -> dict[str, tuple[str, ...]]:
    """Return task name -> classes, sorted: the nine tasks, all classes, the nine again and the domains."""
    groups: dict[str, list[str]] = facts("classes", "carft.data.icons")
    every = sorted(chain.from_iterable(groups.values()))
    if world.tasks_per_class:
        groups = {f"mix-{number}": [] for number in range(1, len(groups) + 1)}
        for name in every:
            for number in tasks_of_classes(world)[name]:
                groups[f"mix-{number + 1}"].append(name)
    found = {}
    for group, classes in groups.items():
        found[f"{world.prefix}/{group}"] = tuple(classes)
    found[world.all] = tuple(every)
    for group, classes in groups.items():
        found[f"{world.full}{group}"] = tuple(classes)
    for suite in world.suites:
        found[f"{world.domains}{suite}"] = tuple(every)
    return found


def attested_pixels(version: str, task: str) -> dict[str, str]:
    """Return part -> digest of its pixels, from attested_sets.json; empty for a task that it does not name.

    version: of the world. benchmarks/icons_attest.py makes the file.
    """
    return facts("attested_sets", "carft.data.icons").get(version, {}).get(task, {})


def nine_tasks(world: World = DEFAULT) -> tuple[str, ...]:
    """Return the names of the nine tasks, in order."""
    names = tuple(tasks(world))
    return names[: names.index(world.all)]


@cache
def tasks_of_classes(world: World) -> dict[str, tuple[int, ...]]:
    """Return class -> numbers, from 0, of the tasks that share it.

    The classes are dealt in an order fixed by a hash: class i is in the tasks i, i + 1 and i + 3, counted around.
    """
    groups = facts("classes", "carft.data.icons")
    every = sorted(
        chain.from_iterable(groups.values()),
        key=lambda name: hashlib.sha256(f"{world.version}/{name}".encode()).hexdigest(),
    )
    steps = (0, 1, 3, 7, 5)[: world.tasks_per_class]
    found = {}
    for number, name in enumerate(every):
        found[name] = tuple((number + step) % len(groups) for step in steps)
    return found
