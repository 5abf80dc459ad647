"""Claims and their verdicts. The claims are in ``ledger``; ``rules`` has what they share."""
