"""Tasks and data sets: the catalog, one package per family of data sets, and the readers of their files.

Cards, the catalog and families import no torch before they open images; image code does. Every subpackage of carft
above ``core``, and every other package, may import this one.
"""
