"""Random generators that depend on a key alone, so that earlier draws do not change later ones."""

import numpy as np

#: kinds of draws, the last part of a generator's key; a new kind takes the next number
ORDER, CROPS, PERMUTATION, CONTEXTS, TEXTS, TEMPLATES, DRAWN, ROTATION = range(8)


def generator(seed: int, index: int, stream: int) -> np.random.Generator:
    """Return the generator of a key.

    seed: the cell's seed. index: epoch or step, from 0; 0 for what is drawn once per run. stream: a kind above.
    """
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence((seed, index, stream))))
