"""Places of this machine in text that may be published: roots get short names, and what is left is found."""

import os
import re
from contextlib import suppress
from pathlib import Path

#: an absolute path of two components at least, and no part of an address or of another path
_PATH = re.compile(r"(?<![\w./~$}-])/(?!/)[\w.@+-]+(?:/[\w.@+-]+)+")


def short_paths(text: str, results: str | Path = "", data: str | Path | None = None) -> str:
    """Return a text with ``$RESULTS``, ``$DATA`` and ``~`` in place of the folders of results, data and the user.

    results, data: empty and None for folders that are not known.
    """
    roots = {}
    with suppress(RuntimeError):  # the user has no folder
        roots[str(Path.home())] = "~"
    for folder, name in ((data, "$DATA"), (results, "$RESULTS")):
        if folder:
            roots |= {str(folder): name, os.path.abspath(folder): name, os.path.realpath(folder): name}  # noqa: PTH100
    for root in sorted(roots, key=len, reverse=True):
        if root.startswith("/") and root != "/":
            # not within another path, and whole components only
            text = re.sub(rf"(?<![\w.-]){re.escape(root.rstrip('/'))}(?![\w.-])", lambda _: roots[root], text)  # noqa: B023
    return text


def absolute_paths(text: str) -> set[str]:
    """Return the absolute paths in a text."""
    return set(_PATH.findall(text))
