"""Checks of a machine before time on it is paid for: hardware, disks, data, one measured step.

It may import every other subpackage of ``sweeps`` but ``sweeps.status``.
"""
