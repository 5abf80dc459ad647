"""Figures, drawn from tables with matplotlib.

It may import ``reports.tables`` and below.
"""
