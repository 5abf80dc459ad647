"""Differences of two entries, and what is missing from them."""
