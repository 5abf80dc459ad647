"""Text as HTML, Markdown and LaTeX take it, and long lists compressed inside the page."""

from __future__ import annotations

import base64
import gzip
import json
import re
from typing import Any

from markupsafe import Markup

#: a hyphen that is the sign of a number
SIGN = re.compile(r"(?<![\w.-])-(?=\d)")


def minus(text: str) -> str:
    """Words whose negative numbers have the minus sign that printers use."""
    return SIGN.sub("−", text)


def markdown(value: Any) -> Any:
    """A value as Markdown shows it: on one line, and never as markup, a table's bar or HTML."""
    if not isinstance(value, str) or isinstance(value, Markup):
        return value
    escaped = re.sub(r"([\\`*\[\]|])", r"\\\1", value.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;"))
    return " ".join(escaped.split())


TEX = {
    **{c: f"\\{c}" for c in "&%$#_{}"},
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "–": "--",
    "−": "$-$",
    "“": "``",
    "”": "''",
}


def latex(value: Any) -> Any:
    """A value as LaTeX prints it: every special character escaped, on one line; minus signs set as such."""
    if not isinstance(value, str) or isinstance(value, Markup):
        return value
    return " ".join("".join(TEX.get(c, c) for c in minus(value)).split())


PACKED = re.compile(r'"packed:([A-Za-z0-9+/=]*)"')


def packed_json(content: Any) -> str:
    """``packed:`` and the base64 of the gzipped JSON of anything; a browser reads no NaN, so none is written."""
    text = json.dumps(content, separators=(",", ":"), allow_nan=False)
    return "packed:" + base64.b64encode(gzip.compress(text.encode(), mtime=0)).decode()


def unpacked(page: str) -> str:
    """A page with the text of its packed parts: two builds of zlib compress the same text to different bytes."""
    return PACKED.sub(lambda found: gzip.decompress(base64.b64decode(found[1])).decode(), page)
