"""Checks of a machine before time on it is paid for: hardware, disks, data, one measured step."""
