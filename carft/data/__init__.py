"""Tasks and data sets: the catalog, one package per family of data sets, and the readers of their files.

Cards, the catalog and layouts import no torch; loaders (``tasks.py``) and image code do. Every subpackage of carft
above ``core``, and every other package, may import this one.
"""
