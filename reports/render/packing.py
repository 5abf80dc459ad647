"""Long lists inside the page: compressed parts, which the script of the page opens when one of their rows is asked."""

from __future__ import annotations

import base64
import gzip
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

#: rows of a part
PART = 500
_PACKED = re.compile(r'"packed:([A-Za-z0-9+/=]*)"')


def packed(rows: Sequence[Any]) -> list[str]:
    """``packed:`` and the base64 of the gzipped JSON of every ``PART`` rows."""
    return [packed_block(rows[start : start + PART]) for start in range(0, len(rows), PART)]


def packed_block(content: Any) -> str:
    """``packed:`` and the base64 of the gzipped JSON of anything; a browser reads no NaN, so none is written."""
    text = json.dumps(content, separators=(",", ":"), allow_nan=False)
    return "packed:" + base64.b64encode(gzip.compress(text.encode(), mtime=0)).decode()


def packed_cells(cells: Mapping[str, Any]) -> dict[str, Any]:
    """The block of all cells with packed details, and the number of rows of a part."""
    return {**cells, "details": packed(cells["details"]), "part": PART}


def unpacked(page: str) -> str:
    """A page with the text of its packed parts: two builds of zlib compress the same text to different bytes."""
    return _PACKED.sub(lambda found: _text(found.group(1)), page)


def _text(code: str) -> str:
    return gzip.decompress(base64.b64decode(code)).decode()
