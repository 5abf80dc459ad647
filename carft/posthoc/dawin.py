"""DaWin's rule for a sample, on outputs: the surer model counts more (Oh et al., ICLR 2025, arXiv 2410.03782).

The paper interpolates the weights anew for each sample. Its authors' code has the same coefficients for outputs too
(naver-ai/dawin, ``--ensemble_coef``), which logits on record suffice for. It tempers both models on validation first;
here the temperature is 1.
"""

import numpy as np
from scipy.special import entr, softmax

from carft.core.metrics import Largest, Predictions
from carft.posthoc.output_average import mixed


def by_entropy(zero_shot: Predictions, tuned: Predictions) -> Predictions:
    """Mixture with the share exp(-H_tuned) / (exp(-H_zero_shot) + exp(-H_tuned)) of the tuned model for each image.

    H: entropy in nats over the scored classes.
    """
    ours, theirs = np.exp(-_entropy(zero_shot)), np.exp(-_entropy(tuned))
    return mixed(zero_shot, tuned, theirs / (ours + theirs))


def _entropy(predictions: Predictions) -> np.ndarray:
    """(N, 1) in nats. 0 where the largest logits alone are kept, which :func:`mixed` refuses."""
    if isinstance(predictions.logits, Largest):
        return np.zeros((len(predictions.labels), 1))
    logits = predictions.logits.astype(np.float64)
    if predictions.subset is not None:
        logits = logits[:, np.asarray(predictions.subset)]
    return entr(softmax(logits, axis=1)).sum(1, keepdims=True)
