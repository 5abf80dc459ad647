"""Checks of a machine before time on it is paid for: hardware, limits, disks, data.

It may import every other subpackage of ``sweeps`` but ``sweeps.status``.
"""
