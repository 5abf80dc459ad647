"""Random draws: every one is a function of its key alone, so nothing that was drawn before can move it."""

from __future__ import annotations

import numpy as np

#: what is drawn, the last number of a key of three; a new kind of draw takes a new number
ORDER, CROPS, PERMUTATION, CONTEXTS, TEXTS, TEMPLATES = range(6)


def generator(seed: int, index: int, stream: int) -> np.random.Generator:
    """A generator for (seed, index, stream). index: the epoch or the step, 0 for what is drawn once."""
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence((seed, index, stream))))
