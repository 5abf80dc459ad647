"""Many cells on a Ray cluster: recipes, searches, their protocol, and how they run.

``sweep`` runs a recipe as the command does. It is loaded when it is first asked for: it imports Ray.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sweeps.running import sweep as sweep

__all__ = ["sweep"]


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module 'sweeps' has no attribute '{name}'")
    return getattr(import_module("sweeps.running"), name)
