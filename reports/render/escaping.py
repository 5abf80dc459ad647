"""Minus signs, and values as Markdown and LaTeX take them."""

from __future__ import annotations

import re
from typing import Any

from markupsafe import Markup

#: a hyphen that is the sign of a number
SIGN = re.compile(r"(?<![\w.-])-(?=\d)")


def minus(text: Any) -> Any:
    """A number with the minus sign that printers use."""
    return text.replace("-", "−", 1) if isinstance(text, str) and re.match(r"-\d", text) else text


def minuses(text: str) -> str:
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
