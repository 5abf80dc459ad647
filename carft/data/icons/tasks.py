"""Loader of the icons tasks: their images are rendered on this machine, and attested against the published digests.

Only opening a task imports torch.
"""

from __future__ import annotations

import functools
import hashlib
import platform
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import PIL

from carft.core.array_cache import ArrayCache, array_digest, key_of
from carft.core.errors import UserError
from carft.data.card import Card, DataOptions
from carft.data.facts import facts
from carft.data.family import Sizes
from carft.data.icons.contexts import SIDE
from carft.data.icons.drawings import MASKS, TABLE, census, drawings_digest
from carft.data.icons.rendering import Rendering, render, renderings_of
from carft.data.icons.world import BUILT_IN_WEIGHTS, PROMPTS, VERSION, tasks

if TYPE_CHECKING:
    from carft.data.task import ImageSet, Sealed, Task


def open_task(card: Card, options: DataOptions) -> Task:
    """Open training and validation images. Rendered once per process, or once per machine with a disk cache."""
    from carft.data.task import Task

    train = opened_images(card.name, "train", options.cache)
    val = opened_images(card.name, "val", options.cache)
    return Task(card.name, train, val, attest(options.cache))


def open_sealed(card: Card, options: DataOptions) -> Sealed:
    """Open the test set, if the task has one, and the suites."""
    from carft.data.task import Sealed

    test = opened_images(card.name, "test", options.cache) if card.has_test else None
    return Sealed(test, {suite: opened_images(card.name, suite, options.cache) for suite in card.suites})


@functools.lru_cache(maxsize=128)
def opened_images(task: str, part: str, cache: ArrayCache | None) -> ImageSet:
    """Return a part of a task, rendered or from the disk cache. part: ``train``, ``val``, ``test`` or a suite."""
    return image_set(task, renderings_of(task, part), cache)


def image_set(task: str, images: Sequence[Rendering], cache: ArrayCache | None = None) -> ImageSet:
    """Return these images of a task, rendered or from the disk cache."""
    import torch

    from carft.data.task import ImageSet

    classes = tasks()[task]
    order = list(PROMPTS)
    names, labels, contexts, groups = [], [], [], []
    for drawing, context, number in images:
        names.append(f"{drawing.name}/{context}/{number}")
        labels.append(classes.index(drawing.class_name))
        contexts.append(order.index(context))
        groups.append(drawing.name)

    def make() -> np.ndarray:
        rendered = [render(*image).transpose(2, 0, 1) for image in images]
        return np.stack(rendered).reshape(len(images), -1)

    if cache is None:
        pixels = make()
        digest = array_digest(pixels)
    else:
        versions = [*_versions(), measured(cache)["pixels"]]  # everything but its name that decides pixels
        entry = f"icons-{key_of({'world': versions, 'names': names})}"
        stored = cache.get(entry, len(images), 3 * SIDE * SIDE, np.dtype("uint8"), make)
        pixels, digest = stored.values, stored.digest
    return ImageSet(
        images=torch.from_numpy(np.asarray(pixels)).view(-1, 3, SIDE, SIDE),
        labels=torch.tensor(labels),
        contexts=torch.tensor(contexts),
        names=tuple(names),
        groups=tuple(groups),
        digest=digest,
    )


def count(card: Card) -> Sizes:
    """Return the numbers of images, without rendering any."""
    train = len(renderings_of(card.name, "train"))
    val = len(renderings_of(card.name, "val"))
    held_out = sum(len(renderings_of(card.name, suite)) for suite in card.suites)
    if card.has_test:
        held_out += len(renderings_of(card.name, "test"))
    return Sizes(train, val, held_out)


def picture(card: Card, held_out: str, name: str, root: Path | None = None) -> np.ndarray:
    """Render an image by its name."""
    rest, _, number = name.rpartition("/")
    drawn, _, context = rest.rpartition("/")
    drawing = next((one for one in census() if one.name == drawn), None)
    if drawing is None or context not in PROMPTS or not number.isdecimal():
        raise UserError(f"{card.name} has no image called '{name}' here.", "Its picture is left out.")
    return render(drawing, context, int(number))


def require_present(card: Card, options: DataOptions) -> None:
    """Raise ``UserError`` unless drawings and built-in weights are installed. The world needs no data root."""
    for path in (TABLE, MASKS, *BUILT_IN_WEIGHTS.values()):
        if not path.is_file():
            raise UserError(f"A file of the built-in world is missing: {path}.", "Install the project again.")


@functools.cache
def measured(cache: ArrayCache | None = None) -> dict[str, str]:
    """Return the digests of the drawings and of a sample of rendered pixels on this machine.

    cache: with it the sample is rendered once per machine and version of code and libraries.
    """
    if cache is None:
        pixels = _pixels_digest()
    else:
        entry = f"icons-digest-{key_of({'world': _versions(), 'host': platform.node()})}"
        pixels = cache.get(entry, 1, 32, np.dtype("uint8"), lambda: _pixels_digest()).values
    return {"drawings": drawings_digest(), "pixels": pixels.tobytes().hex()}


def attest(cache: ArrayCache | None = None) -> dict[str, str]:
    """Return the digests with ``attested``: ``yes``, or ``pixels differ`` if Pillow renders differently.

    cache: see :func:`measured`. Raises ``UserError`` for other drawings, since the world is then another one.
    """
    expected = published_digests()
    found = measured(cache)
    if found["drawings"] != expected["drawings"]:
        raise UserError("The drawings of the icons world differ from the published ones.", "Install the project again.")
    same = found["pixels"] == expected["pixels"]
    return {**found, "attested": "yes" if same else "pixels differ"}


def published_digests() -> dict[str, str]:
    """Return the published digests of the world, from attested.json."""
    return facts("attested", "carft.data.icons")[VERSION]


@functools.cache
def _versions() -> list[str]:
    code = hashlib.sha256()
    for path in sorted(Path(__file__).parent.glob("*.py")):
        code.update(path.read_bytes())
    return [VERSION, drawings_digest(), code.hexdigest(), np.__version__, PIL.__version__]


def _pixels_digest() -> np.ndarray:
    """Return sha256 over one rendering of every 40th test drawing in every context, (1, 32) uint8."""
    digest = hashlib.sha256()
    drawings = [drawing for drawing in census() if drawing.split == "test"]
    for drawing in drawings[::40]:
        for context in PROMPTS:
            digest.update(render(drawing, context, 0).tobytes())
    return np.frombuffer(digest.digest(), np.uint8)[None]
