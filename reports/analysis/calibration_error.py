"""The expected calibration error, as a mean over images, so that its interval is made as that of an accuracy."""

import numpy as np

#: bins of equal numbers of images, sorted by confidence
BINS = 15


def gaps(confidence: np.ndarray, is_right: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """(N,) each image's confidence minus hit, with the sign of the mean of its bin. Their mean is the debiased error.

    confidence: (N,) within [0, 1]; is_right: (N,) bool; groups: (N,) codes of the groups of images. The sign is that of
    the images of the bin in other groups: with its own, a calibrated model would have an error above 0.
    """
    bins = np.empty(len(confidence), dtype=np.int64)
    for number, members in enumerate(np.array_split(np.argsort(confidence, kind="stable"), BINS)):
        bins[members] = number
    gap = confidence - is_right
    count = groups.max(initial=0) + 1
    sums = np.bincount(bins * count + groups, gap, minlength=BINS * count).reshape(BINS, count)
    of_others = sums.sum(1, keepdims=True) - sums
    return gap * np.sign(of_others)[bins, groups]
