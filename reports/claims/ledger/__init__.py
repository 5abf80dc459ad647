"""The ledger: each file has a claim's statement, source and margin, and shows what decides it.

A file has a class with ``decide``, or makes a :class:`reports.claims.rules.MeanClaim`, which one mean decides. The
verdict on the deciding parts is that of :func:`reports.claims.rules.decide`. Claims about one thing share a file.
"""

from functools import cache

from carft.core.source import declared
from reports.claims.claim import Claim, Gain


@cache
def ledger() -> dict[str, Claim]:
    """Claim id -> claim: every one of the modules of this package, by number. Raises ``ValueError`` for an id twice."""
    claims = declared(__name__, Claim)
    claims.sort(key=lambda claim: (int("".join(filter(str.isdigit, claim.id))), claim.id))
    by_id = {claim.id: claim for claim in claims}
    if len(by_id) < len(claims):
        raise ValueError(f"Two claims of the ledger have one id: {[claim.id for claim in claims]}.")
    return by_id


def gain_claims() -> dict[Gain, Claim]:
    """Gain -> the claim that CAR-FT has it over FT."""
    return {claim.gain: claim for claim in ledger().values() if claim.gain}
