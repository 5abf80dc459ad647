"""Attestation of the icons world: drawings and pixels against the published digests."""

from __future__ import annotations

import functools
import hashlib
import platform
from pathlib import Path

import numpy as np
import PIL

from carft.core.array_cache import ArrayCache, key_of
from carft.core.errors import UserError
from carft.data.card import Card, DataOptions
from carft.data.facts import table
from carft.data.icons.drawings import MASKS, TABLE, census, drawings_digest
from carft.data.icons.rendering import render
from carft.data.icons.world import BUILT_IN_WEIGHTS, DEFAULT, World


def require_present(card: Card, options: DataOptions) -> None:
    """Raise ``UserError`` unless drawings and built-in weights are installed. The world needs no data root."""
    for path in (TABLE, MASKS, *BUILT_IN_WEIGHTS.values()):
        if not path.is_file():
            raise UserError(f"A file of the built-in world is missing: {path}.", "Install the project again.")


@functools.cache
def measured(world: World = DEFAULT, cache: ArrayCache | None = None) -> dict[str, str]:
    """Return the digests of the drawings and of a sample of rendered pixels on this machine.

    cache: with it the sample is rendered once per machine and version of code and libraries.
    """
    if cache is None:
        pixels = _pixels_digest(world)
    else:
        entry = f"icons-digest-{key_of({'world': _versions(world), 'host': platform.node()})}"
        pixels = cache.get(entry, 1, 32, np.dtype("uint8"), lambda: _pixels_digest(world))
    return {"drawings": drawings_digest(), "pixels": pixels.tobytes().hex()}


def pixel_versions(world: World, cache: ArrayCache | None) -> list[str]:
    """Return everything but its name that decides the pixels of a rendering: drawings, code, libraries, machine."""
    return [*_versions(world), measured(world, cache)["pixels"]]


def attest(world: World = DEFAULT, cache: ArrayCache | None = None) -> dict[str, str]:
    """Return the digests with ``attested``: ``yes``, or ``pixels differ`` if Pillow renders differently.

    cache: see :func:`measured`. Raises ``UserError`` for other drawings, since the world is then another one.
    """
    expected, found = shipped(world), measured(world, cache)
    if found["drawings"] != expected["drawings"]:
        raise UserError("The drawings of the icons world differ from the published ones.", "Install the project again.")
    same = found["pixels"] == expected["pixels"]
    return {**found, "attested": "yes" if same else "pixels differ"}


def shipped(world: World = DEFAULT) -> dict[str, str]:
    """Return the published digests of a world, from attested.json."""
    return table("carft.data.icons", "attested")[world.version]


@functools.cache
def _versions(world: World) -> list[str]:
    code = hashlib.sha256(b"".join(path.read_bytes() for path in sorted(Path(__file__).parent.glob("*.py"))))
    return [world.version, drawings_digest(), code.hexdigest(), np.__version__, PIL.__version__]


def _pixels_digest(world: World) -> np.ndarray:
    """Return sha256 over one rendering of every 40th test drawing in every context, (1, 32) uint8."""
    digest = hashlib.sha256()
    for drawing in [d for d in census() if d.split == "test"][::40]:
        for context in world.prompts:
            digest.update(render(drawing, context, 0, world).tobytes())
    return np.frombuffer(digest.digest(), np.uint8)[None]
