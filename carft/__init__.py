"""CAR-FT and its baselines: one cell on one machine."""

__version__ = "0.2.0"

#: Raised by hand whenever the same cell may give other numbers; guarded by tests/carft/training/test_golden.py.
NUMERICS = 1

SCHEMA_VERSION = 1
