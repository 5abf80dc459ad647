"""What a cell is: its specification and id, the registry of methods, and model selection.

No module here imports torch. It may use ``core`` and ``data``; all other subpackages and packages may import it.
"""
