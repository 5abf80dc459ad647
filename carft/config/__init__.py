"""What a cell is: its specification and id, its settings, and the registry of methods.

No module here imports torch. It may use ``core``; all other subpackages and packages may import it.
"""
