"""The icons world as plain data: tasks, templates, suites. No torch; no drawing is opened.

Its version is icons-3, which ids of cells count: two earlier worlds have left the package (retired.py).
"""

import hashlib
from functools import cache
from itertools import chain
from pathlib import Path

from carft.data.facts import facts

#: of the data, part of every cell's id
VERSION = "icons-3"
#: first part of the names of the tasks, and the tag of the weights
PREFIX = "icons-3"
WEIGHTS_FOLDER = Path(__file__).parent / "weights"
#: (model, tag) -> file, for models that ship with this package
BUILT_IN_WEIGHTS = {("icons-resnet", PREFIX): WEIGHTS_FOLDER / "icons-3-resnet.safetensors"}

#: the task that holds all classes
ALL = f"{PREFIX}/all"
#: how the names of the nine tasks with more images of each held-out drawing begin
FULL = f"{PREFIX}-full/"
#: how the names of the tasks of all classes begin that leave one suite out of training
DOMAINS = f"{PREFIX}/domains/"
#: the suite that shows unseen foundries in the training contexts
HANDS = "hands"

#: context -> prompt, in the order of the context head's rows, with CLIP's wording where it exists
PROMPTS = {
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
}
#: the contexts of training, validation, test and the suite ``hands``
ID_CONTEXTS = ("photo", "black-and-white", "bright", "silhouette")
#: suite -> its contexts, modelled on ImageNet-V2, -R, -Sketch, -A and ObjectNet
SUITES = {
    HANDS: ID_CONTEXTS,
    "renditions": (
        *("cartoon", "painting", "neon", "pixelated"),
        *("sculpture", "plastic", "embroidered", "graffiti", "watercolour", "mosaic"),
    ),
    "sketches": ("sketch", "chalk", "tattoo", "doodle", "blueprint", "newspaper"),
    "adversarial": (
        *("camouflaged", "dark", "noisy", "blurry"),
        *("low-resolution", "jpeg", "grainy", "foggy", "night", "rainy", "behind-bars", "dirty"),
    ),
    "viewpoint": ("upside-down", "close-up", "small", "many", "tilted"),
}

#: of every rendering
SEED = 3
#: images of each drawing in a set, spread over its contexts; ``full`` is the number for the held-out sets of the tasks
#: ``icons-3-full/...``
RENDERINGS = {"train": 2, "val": 2, "test": 1, "full": 4}
#: share of the drawings for pretraining that pretraining showed; the others are dealt to training and validation
SHOWN = 0.15
#: largest weight, below 0.5, of a second context that is mixed into every image; its own keeps the larger part
BLEND = 0.35
#: each class is in the tasks that are so many places after its own, counted around
_STEPS = (0, 1, 3)


def tasks() -> dict[str, tuple[str, ...]]:
    """Return task name -> classes, sorted: the nine tasks, all classes, the nine again and the domains."""
    every = _classes()
    groups: dict[str, list[str]] = {f"mix-{number}": [] for number in range(1, _count() + 1)}
    for name in every:
        for number in tasks_of_classes()[name]:
            groups[f"mix-{number + 1}"].append(name)
    found = {}
    for group, classes in groups.items():
        found[f"{PREFIX}/{group}"] = tuple(classes)
    found[ALL] = tuple(every)
    for group, classes in groups.items():
        found[f"{FULL}{group}"] = tuple(classes)
    for suite in SUITES:
        found[f"{DOMAINS}{suite}"] = tuple(every)
    return found


def nine_tasks() -> tuple[str, ...]:
    """Return the names of the nine tasks, in order."""
    names = tuple(tasks())
    return names[: names.index(ALL)]


@cache
def tasks_of_classes() -> dict[str, tuple[int, ...]]:
    """Return class -> numbers, from 0, of the three tasks that share it.

    The classes are dealt in an order fixed by a hash: class i is in the tasks i, i + 1 and i + 3, counted around.
    """
    order = sorted(_classes(), key=lambda name: hashlib.sha256(f"{VERSION}/{name}".encode()).hexdigest())
    found = {}
    for number, name in enumerate(order):
        found[name] = tuple((number + step) % _count() for step in _STEPS)
    return found


def _classes() -> list[str]:
    """Return all classes, sorted."""
    return sorted(chain.from_iterable(facts("classes", "carft.data.icons").values()))


def _count() -> int:
    """Return the number of tasks: as many as there are kinds of things in classes.json."""
    return len(facts("classes", "carft.data.icons"))
