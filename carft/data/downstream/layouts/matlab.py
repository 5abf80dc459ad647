"""MATLAB files through scipy, which reads them as data: no code in them is run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from scipy.io import loadmat

from carft.data.downstream.layouts.reading import damaged


def variable(path: Path, name: str) -> Any:
    """A variable of a .mat file with its single dimensions dropped; ``UserError`` when it cannot be read."""
    try:
        return loadmat(path, squeeze_me=True)[name]
    except Exception as error:  # scipy raises many kinds for a torn file
        raise damaged(path) from error
