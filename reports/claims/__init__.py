"""The claims of the ledger, and the rule that turns evidence into a verdict on each.

It may import ``reports.analysis`` and below.
"""
