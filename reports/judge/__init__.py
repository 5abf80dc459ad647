"""Stage 2: from cells and outcomes to contrasts, intervals and verdicts; no page is written. Predictions and
histories are read on demand, through ``reports.read``.

It may import ``reports.read``.
"""
