"""Long lists inside the page: compressed parts, which the script of the page opens when one of their rows is asked."""

from __future__ import annotations

import base64
import gzip
import json
import re
from collections.abc import Mapping
from typing import Any

#: rows of a part
PART = 500
_PACKED = re.compile(r'"packed:([A-Za-z0-9+/=]*)"')


def packed_block(content: Any) -> str:
    """``packed:`` and the base64 of the gzipped JSON of anything; a browser reads no NaN, so none is written."""
    text = json.dumps(content, separators=(",", ":"), allow_nan=False)
    return "packed:" + base64.b64encode(gzip.compress(text.encode(), mtime=0)).decode()


def packed_cells(cells: Mapping[str, Any]) -> dict[str, Any]:
    """The block of all cells with packed details, ``part`` rows in each piece."""
    rows = cells["details"]
    return {**cells, "details": [packed_block(rows[k : k + PART]) for k in range(0, len(rows), PART)], "part": PART}


def unpacked(page: str) -> str:
    """A page with the text of its packed parts: two builds of zlib compress the same text to different bytes."""
    return _PACKED.sub(lambda found: gzip.decompress(base64.b64decode(found[1])).decode(), page)
