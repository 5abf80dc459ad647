"""Intervals, ranks and power: statistics that know nothing of cells.

It imports no other subpackage.
"""
