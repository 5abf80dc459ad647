"""Tasks and methods by name: those of this package, of packages and plug-ins, and the cells that requests ask for.

No module here imports torch. It may use ``core``, ``data`` and ``config``.
"""
