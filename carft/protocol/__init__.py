"""The protocol of a study as pure functions: identity, seeds, what trials try, which one wins.

Sweeps run by them, and reports check them. It may use ``core`` and ``config``.
"""
