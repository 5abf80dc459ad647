"""Intervals and ranks: statistics that know nothing of cells.

It imports no other subpackage.
"""
