"""The average of the outputs of the zero-shot and the fine-tuned model (output-space ensemble, 2109.01903)."""

from dataclasses import replace

import numpy as np
from scipy.special import log_softmax

from carft.core.errors import UserError
from carft.core.metrics import Largest, Predictions

#: logit of a class that is not scored
NEVER = -1e4


def mixed(first: Predictions, second: Predictions, share: np.ndarray | float) -> Predictions:
    """Predictions of (1 - share) p_first + share p_second on the same images, in the same order; logits are ln p.

    share: of the second, in [0, 1], one or (N, 1). Contexts are mixed in the same way. ``UserError`` for other images,
    and where the largest logits alone are kept.
    """
    if list(first.images) != list(second.images):
        raise UserError("The two cells were evaluated on other images, so their outputs cannot be averaged.")
    if isinstance(first.logits, Largest) or isinstance(second.logits, Largest):
        raise UserError("Of a set this large the largest logits alone are kept, which cannot be averaged.")
    classes = np.arange(first.logits.shape[1]) if first.subset is None else np.asarray(first.subset)
    logits = np.full(first.logits.shape, NEVER, np.float32)
    logits[:, classes] = _log_mixture(first.logits[:, classes], second.logits[:, classes], share)
    contexts = _log_mixture(first.context_logits, second.context_logits, share)
    return replace(first, logits=logits, context_logits=contexts)


def _log_mixture(first: np.ndarray, second: np.ndarray, share: np.ndarray | float) -> np.ndarray:
    """(N, C) float32: ln of the mixture of two softmax distributions of logits (N, C)."""
    ours, theirs = log_softmax(first.astype(np.float64), axis=1), log_softmax(second.astype(np.float64), axis=1)
    with np.errstate(divide="ignore"):
        mixture = np.logaddexp(np.log1p(-share) + ours, np.log(share) + theirs)
    return np.maximum(mixture, NEVER).astype(np.float32)


def averaged(zero_shot: Predictions, tuned: Predictions) -> Predictions:
    """The mean of the two distributions of each image."""
    return mixed(zero_shot, tuned, 0.5)
