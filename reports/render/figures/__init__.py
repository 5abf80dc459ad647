"""Figures: what a figure is (``figure``), their common style, and a module of figures for each section of the page.

It may import ``reports.render.tables`` and below.
"""
