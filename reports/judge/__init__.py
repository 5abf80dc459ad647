"""Stage 2: from cells and outcomes to contrasts, intervals and verdicts; no files are read and no page is written.

It may import ``reports.read``.
"""
