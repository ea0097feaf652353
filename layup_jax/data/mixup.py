"""Mixup: every sample of a batch is mixed with another one, and so are their labels.

rng = np.random.default_rng((seed, rank, number))
batch = mixed(batch, 0.2, num_classes=10, rng=rng)
batch.labels  # float32 (128, 10): probabilities
"""

from __future__ import annotations

import numpy as np

from layup_jax.data.batch import Batch
from layup_jax.errors import DataError


def mixed(batch: Batch, alpha: float, *, num_classes: int, rng: np.random.Generator) -> Batch:
    """Mixes a batch with a permutation of itself.

        lambda ~ Beta(alpha, alpha), one for the batch
        x~ = lambda x_i + (1 - lambda) x_j,    y~ = lambda y_i + (1 - lambda) y_j

    Args:
      batch: inputs float32 (n, ...), labels int32 (n,) in [0, num_classes).
      alpha: above 0; the nearer to 0, the more often one of two samples is all there is.
      num_classes: of the labels y, which are one-hot.
      rng: drawn from twice.

    Returns:
      Inputs as they were, labels float32 (n, num_classes), each row of which sums to 1.

    References:
      Zhang et al. mixup: Beyond Empirical Risk Minimization. arXiv 1710.09412, equation 1, and
      the code in figure 1: a batch is mixed with itself, and lambda drawn for each batch.
    """
    share = np.float32(rng.beta(alpha, alpha))
    others = rng.permutation(len(batch.labels))
    return Batch(*(share * each + (1 - share) * each[others] for each in _soft(batch, num_classes)))


def check_mixable(batch: Batch, what: str) -> None:
    """Raises DataError if samples like these cannot be mixed; `what` names the data in the message."""
    images, labels = batch
    if images.dtype != np.float32 or images.ndim != 4 or labels.ndim != 1:
        raise DataError(
            "mixup needs images (height, width, channels) with one label each, got inputs "
            f"{images.dtype} {images.shape[1:]} and labels {labels.shape[1:]} in {what}; use mixup=0"
        )


def _soft(batch: Batch, num_classes: int) -> Batch:
    """The same with one-hot labels."""
    labels = np.zeros((len(batch.labels), num_classes), np.float32)
    labels[np.arange(len(labels)), batch.labels] = 1
    return Batch(batch.inputs, labels)
