"""One loss or rule per file. A trained method overrides hooks of ``FineTune``; ``wise_ft`` and ``soup`` are functions.

Nothing here writes files or runs a training loop. ``carft.training`` and ``carft.posthoc`` import this subpackage and
load a method by its name in ``carft.config.registry``. Methods import ``carft.models`` and the subpackages below it.
"""
