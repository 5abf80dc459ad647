"""Tables as data frames, and the registry that lists them.

It may import ``reports.claims`` and below.
"""
