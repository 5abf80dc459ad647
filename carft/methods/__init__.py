"""Losses. A trained method overrides hooks of ``FineTune``; WiSE-FT and soups are in ``carft.posthoc``.

Nothing here writes files or runs a training loop. ``carft.training`` and ``carft.posthoc`` import this subpackage and
load a method by its name in ``carft.config.registry``. Methods import ``carft.models`` and the subpackages below it.
"""
