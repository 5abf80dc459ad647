"""What a report rests on: records read once, the entries to compare, caveats, access to held-out sets.

It may import ``reports.stats``.
"""
