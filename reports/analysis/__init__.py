"""Contrasts of methods and their estimates, levels, null checks: what claims and tables are computed from.

It may import ``reports.evidence`` and ``reports.stats``.
"""
