"""Attestation of the icons world: fonts, census and pixels against the published digests."""

from __future__ import annotations

import hashlib
import json
from functools import cache
from importlib.resources import files

from carft.core.errors import UserError
from carft.data.icons.contexts import CONTEXTS
from carft.data.icons.drawings import census, census_digest
from carft.data.icons.foundries import fonts_digest
from carft.data.icons.rendering import render


@cache
def measured() -> dict[str, str]:
    """Return the digests of the fonts, the census and a sample of rendered pixels on this machine."""
    return {"fonts": fonts_digest(), "census": census_digest(), "pixels": _pixels_digest()}


def attest() -> dict[str, str]:
    """Return the digests with ``attested``: ``yes``, or ``pixels differ`` if Pillow or FreeType render differently.

    Raises ``UserError`` for other fonts or another census, since the world is then another one.
    """
    expected, found = shipped(), measured()
    for what in ("fonts", "census"):
        if found[what] != expected[what]:
            raise UserError(
                f"The {what} of the icons world differ from the published ones.",
                "Install the pinned versions of qtawesome and iconipy: python -m pip install -e .",
            )
    same = found["pixels"] == expected["pixels"]
    return {**found, "attested": "yes" if same else "pixels differ"}


def shipped() -> dict[str, str]:
    """Return the published digests, from attested.json."""
    return json.loads(files("carft.data.icons").joinpath("attested.json").read_text(encoding="utf-8"))


def _pixels_digest() -> str:
    """Return sha256 over one rendering of every 40th drawing in every context."""
    digest = hashlib.sha256()
    for drawing in census()[::40]:
        for context in CONTEXTS:
            digest.update(render(drawing, context, 0).tobytes())
    return digest.hexdigest()
