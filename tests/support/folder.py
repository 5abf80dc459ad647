"""A data root as the options of opening a task."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from carft.core.array_cache import ArrayCache


@dataclass(frozen=True)
class Folder:
    """A data root with default options."""

    root: Path | None = None
    skip_unreadable: bool = False
    cache: ArrayCache | None = None
