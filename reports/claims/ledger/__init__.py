"""One file for each claim: what it states, where it is from, its margin, and what decides it.

Every module has ``CLAIM``; :func:`reports.claims.rules.ledger` finds them and orders them by id.
"""
