"""What every other room uses: errors, files, caches, metrics and random generators.

No module here imports torch or another room of carft. Every package may import this one.
"""
