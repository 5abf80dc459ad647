"""The ledger: each file has a claim's statement, source and margin, and shows what decides it.

A file has a class with ``decide``, or makes a ``MeanClaim``, which one mean decides. The verdict on the deciding parts
is that of :func:`reports.judge.claims.rules.decide`. Claims about one thing share a file.
"""

import re
from functools import cache

from carft.core.source import declared
from reports.judge.claims.claim import Claim, Gain


@cache
def ledger() -> dict[str, Claim]:
    """Claim id -> claim: every one of the modules of this package, by number. Raises ``ValueError`` for an id twice."""
    claims = declared(__name__, Claim)
    claims.sort(key=lambda claim: (int(re.sub(r"\D", "", claim.id)), claim.id))
    by_id: dict[str, Claim] = {}
    for claim in claims:
        if claim.id in by_id:
            raise ValueError(f"Two claims of the ledger have one id: {claim.id}.")
        by_id[claim.id] = claim
    return by_id


def gain_claims() -> dict[Gain, Claim]:
    """Gain -> the claim that CAR-FT has it over FT."""
    claims: dict[Gain, Claim] = {}
    for claim in ledger().values():
        if claim.gain:
            claims[claim.gain] = claim
    return claims
