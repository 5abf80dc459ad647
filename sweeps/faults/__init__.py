"""What happens when something breaks: locks, signals, watchdogs, storage that is away.

It may import ``sweeps.search`` and below.
"""
