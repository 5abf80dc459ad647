"""DomainBed's random split of a domain. No torch.

Source: facebookresearch/DomainBed at b93c22a, domainbed/lib/misc.py (seed_hash, split_dataset) and
domainbed/scripts/train.py (which side is which). CLIPood (thuml/CLIPood at bc0d874, converter_domainbed.py) uses it
with trial seed 0.
"""

from __future__ import annotations

import hashlib

import numpy as np

from carft.data.sets import Index

#: DomainBed repeats runs over trial seeds, each with a split of its own; here all cells share the first split, since
#: intervals pair the images of several seeds
TRIAL_SEED = 0


def seed_hash(*parts: int) -> int:
    """The seed, in [0, 2**31), that DomainBed derives from numbers: md5 of their tuple as Python writes it."""
    return int(hashlib.md5(str(parts).encode("utf-8"), usedforsecurity=False).hexdigest(), 16) % 2**31


def split_of(index: Index, number: int, share: float) -> tuple[Index, Index]:
    """Return (in, out) of a domain: ``out`` is a random ``share`` of its images, rounded down.

    Training takes ``in`` of the training domains and validates on ``out``. number: position of the domain in its data
    set, from 0, in the order of folder names. The order of images is kept.
    """
    rows = np.arange(len(index))
    np.random.RandomState(seed_hash(TRIAL_SEED, number)).shuffle(rows)
    held_out = int(len(index) * share)
    return index.rows(sorted(rows[held_out:].tolist())), index.rows(sorted(rows[:held_out].tolist()))
