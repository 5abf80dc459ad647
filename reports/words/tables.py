"""Texts in the cells of tables, and sentences on what a table holds."""

from collections.abc import Mapping
from typing import Any


def setting_words(values: Mapping[str, Any]) -> str:
    """Names with their values: ``epochs 3, crop none``."""
    return ", ".join(f"{name} {value}" for name, value in values.items())
