"""Differences between methods, selection, context recognition, robustness, null checks.

It may import ``reports.evidence`` and ``reports.stats``.
"""
