"""Attestation of the icons world: drawings and pixels against the published digests."""

from __future__ import annotations

import hashlib
import json
from functools import cache
from importlib.resources import files

from carft.core.errors import UserError
from carft.data.icons.contexts import CONTEXTS
from carft.data.icons.drawings import MASKS, TABLE, census, drawings_digest
from carft.data.icons.rendering import render
from carft.data.icons.world import BUILT_IN_WEIGHTS


def require_files() -> None:
    """Raise ``UserError`` unless the drawings and the built-in weights exist. Opens none of them."""
    for path in (TABLE, MASKS, *BUILT_IN_WEIGHTS.values()):
        if not path.is_file():
            raise UserError(f"A file of the built-in world is missing: {path}.", "Install the project again.")


@cache
def measured() -> dict[str, str]:
    """Return the digests of the drawings and of a sample of rendered pixels on this machine."""
    return {"drawings": drawings_digest(), "pixels": _pixels_digest()}


def attest() -> dict[str, str]:
    """Return the digests with ``attested``: ``yes``, or ``pixels differ`` if Pillow renders differently.

    Raises ``UserError`` for other drawings, since the world is then another one.
    """
    expected, found = shipped(), measured()
    if found["drawings"] != expected["drawings"]:
        raise UserError("The drawings of the icons world differ from the published ones.", "Install the project again.")
    same = found["pixels"] == expected["pixels"]
    return {**found, "attested": "yes" if same else "pixels differ"}


def shipped() -> dict[str, str]:
    """Return the published digests, from attested.json."""
    return json.loads(files("carft.data.icons").joinpath("attested.json").read_text(encoding="utf-8"))


def _pixels_digest() -> str:
    """Return sha256 over one rendering of every 40th test drawing in every context."""
    digest = hashlib.sha256()
    for drawing in [d for d in census() if d.split == "test"][::40]:
        for context in CONTEXTS:
            digest.update(render(drawing, context, 0).tobytes())
    return digest.hexdigest()
