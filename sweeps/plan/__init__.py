"""What a sweep takes before it starts: cells, steps, time, disk.

It may import every other subpackage of ``sweeps`` but ``sweeps.status``.
"""
