"""What would stop a sweep on this machine: driver, data, one measured step, disk, memory."""
