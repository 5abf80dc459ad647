"""The icons world as plain data: tasks, templates, suites. No torch; no drawing is opened."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from carft.data.facts import table

WEIGHTS_FOLDER = Path(__file__).parent / "weights"
#: (model, tag) -> file, for models that ship with this package
BUILT_IN_WEIGHTS = {(name, "icons"): WEIGHTS_FOLDER / f"{name}.safetensors" for name in ("icons-resnet", "icons-vit")}

VERSION = "icons-2"
#: earlier world -> the version of this package that has it
SUPERSEDED = {"icons-1": "0.1.0"}
ALL = "icons/all"
#: the nine tasks again, with more images of each held-out drawing
FULL = "icons-full/"
#: all classes, one suite left out of training
DOMAINS = "icons/domains/"

#: images of each drawing in each set, spread over the contexts of the set
RENDERINGS = {"train": 2, "val": 2, "test": 1}
#: the same for the held-out sets of the tasks ``icons-full/...``
FULL_RENDERINGS = 4

#: context -> prompt, in the order of the context head's rows, with CLIP's wording where it exists
PROMPTS: dict[str, str] = {
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
}

ID_CONTEXTS = ("photo", "black-and-white", "bright", "silhouette")

#: suite -> its contexts, modelled on ImageNet-V2, -R, -Sketch, -A and ObjectNet; "hands" shows unseen foundries in the
#: training contexts
SUITES: dict[str, tuple[str, ...]] = {
    "hands": ID_CONTEXTS,
    "renditions": ("cartoon", "painting", "neon", "pixelated"),
    "sketches": ("sketch", "chalk"),
    "adversarial": ("camouflaged", "dark", "noisy", "blurry"),
    "viewpoint": ("upside-down", "close-up", "small", "many"),
}

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


@cache
def class_patterns() -> dict[str, dict[str, list[str]]]:
    """task -> class -> regular expressions, matched against whole base names of glyphs."""
    return table("carft.data.icons", "classes")


def tasks() -> dict[str, tuple[str, ...]]:
    """Return task name -> classes, sorted. ``icons/all`` holds all classes."""
    each = {task: tuple(sorted(classes)) for task, classes in sorted(class_patterns().items())}
    every = tuple(sorted(name for classes in each.values() for name in classes))
    return {
        **{f"icons/{task}": classes for task, classes in each.items()},
        ALL: every,
        **{f"{FULL}{task}": classes for task, classes in each.items()},
        **{f"{DOMAINS}{suite}": every for suite in SUITES},
    }
