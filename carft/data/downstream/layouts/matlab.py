"""MATLAB files, read with scipy as plain data."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from scipy.io import loadmat

from carft.data.downstream.layouts.reading import damaged


def variable(path: Path, name: str) -> Any:
    """Return a variable of a .mat file without dimensions of size 1. Raises ``CorruptFile`` if it cannot be read."""
    try:
        return loadmat(path, squeeze_me=True)[name]
    except Exception as error:  # scipy raises many kinds for a corrupt file
        raise damaged(path) from error
