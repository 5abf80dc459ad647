"""Rendering of images, and which images a set of a task has. Every image is a function of (drawing, context, number,
seed)."""

import hashlib
from collections.abc import Sequence

import numpy as np
from PIL import Image

from carft.data.icons.contexts import PLACEMENTS, SIDE, Placement, painter
from carft.data.icons.drawings import IconDrawing, domains, drawings_of, mask, parts
from carft.data.icons.world import BLEND, DOMAINS, FULL, HANDS, ID_CONTEXTS, PROMPTS, RENDERINGS, SEED, SUITES

#: drawing, context and number of an image
Rendering = tuple[IconDrawing, str, int]


def generator(*key: object) -> np.random.Generator:
    """Return a generator seeded by a stable hash of the key. ``hash()`` differs between processes."""
    digest = hashlib.sha256("\0".join(map(str, key)).encode()).digest()
    return np.random.Generator(np.random.PCG64(int.from_bytes(digest[:16], "little")))


def _stencil(drawing: IconDrawing, placement: Placement, rng: np.random.Generator) -> np.ndarray:
    """Return the placed glyph as (SIDE, SIDE) float32 in [0, 1]."""
    glyph = Image.fromarray(mask(drawing, int(rng.integers(len(drawing.cuts)))))
    angle = rng.uniform(-12, 12)
    if any(placement.tilt):
        angle += rng.choice([-1, 1]) * rng.uniform(*placement.tilt)
    glyph = glyph.rotate(angle, Image.Resampling.BILINEAR, expand=True)
    cell = SIDE // placement.copies
    canvas = Image.new("L", (SIDE, SIDE), 0)
    side = max(6, round(cell * rng.uniform(placement.low, placement.high)))
    small = glyph.resize((side, side), Image.Resampling.BILINEAR, reducing_gap=2.0)
    for row in range(placement.copies):
        for column in range(placement.copies):
            shift = rng.uniform(-placement.jitter, placement.jitter, 2) * cell
            left = round(column * cell + (cell - side) / 2 + shift[0])
            top = round(row * cell + (cell - side) / 2 + shift[1])
            canvas.paste(small, (left, top))
    return np.asarray(canvas, np.float32) / 255


def render(drawing: IconDrawing, context: str, index: int) -> np.ndarray:
    """Return image number ``index`` of a drawing in a context, (SIDE, SIDE, 3) uint8."""
    placement = PLACEMENTS.get(context, Placement())
    rng = generator(SEED, drawing.name, context, index)
    stencil = _stencil(drawing, placement, rng)
    image = painter(context)(stencil, rng)
    others = ID_CONTEXTS if context in ID_CONTEXTS else tuple(PROMPTS)  # training shows no context of the suites
    second = rng.choice([name for name in others if name not in PLACEMENTS])
    image = image + rng.uniform(0, BLEND) * (painter(second)(stencil, rng) - image)
    if placement.upside_down:
        image = image[::-1, ::-1]
    return np.rint(np.clip(image, 0, 1) * 255).astype(np.uint8)


def spread(drawings: Sequence[IconDrawing], contexts: Sequence[str], count: int) -> list[Rendering]:
    """Return ``count`` images of each drawing, spread evenly over the contexts.

    Neighbours in a class start with different contexts, so that fewer images than contexts are balanced too.
    """
    size = len(contexts)
    images = []
    for drawing in drawings:
        for number in range(count):
            context = contexts[(drawing.rank + number) % size]
            images.append((drawing, context, number // size))
    return images


def renderings_of(task: str, part: str) -> list[Rendering]:
    """Return the images of a set of a task. part: ``train``, ``val``, ``test`` or a suite.

    Of the tasks that leave a domain out, each suite is a domain, as in DomainBed's protocol. The domains share no
    drawing. The held-out domain is evaluated as a whole.
    """
    if task.startswith(DOMAINS):
        if part in SUITES:
            return spread(domains()[part], SUITES[part], 1)
        images = []
        for name, contexts in SUITES.items():
            if name != task.removeprefix(DOMAINS):
                images += spread(parts(name)[part], contexts, 1)
        return images
    if part in ("train", "val"):
        return spread(drawings_of(task, part), ID_CONTEXTS, RENDERINGS[part])
    drawings = drawings_of(task, HANDS if part == HANDS else "test")
    size = "full" if task.startswith(FULL) else "test"
    return spread(drawings, SUITES.get(part, ID_CONTEXTS), RENDERINGS[size])
