"""What each claim states, where it is from, its margin, and what decides it; claims about one thing share a file.

:func:`reports.claims.rules.ledger` finds every :class:`reports.claims.claim.Claim` here and orders them by id.
"""
