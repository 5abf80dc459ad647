"""Claims and their verdicts. Each claim is one file in ``ledger``; ``rules`` has what they share."""
