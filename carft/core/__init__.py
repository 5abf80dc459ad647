"""What every other subpackage uses: errors, files, caches, metrics and random generators.

No module here imports torch or another subpackage of carft. Every package may import this one.
"""
