"""Stage 3: tables, figures, pages for people, and the manifest of a report.

It may import ``reports.read`` and ``reports.judge``.
"""
