"""What a worker gets of a split to train on.

Nouns: `Share`.

    share = data_set.share(spec)
    Loader(share)    # its endless stream of batches
    spread(100, 4)   # [0, 25, 50, 75], the part of a split that is evaluated
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from layup_jax.data.samples import Samples
from layup_jax.data.shard import Shard


class Share(NamedTuple):
    """One worker's part of a split.

    Attributes:
      samples: of this worker alone.
      shard: how many, and in which order each epoch visits them.
      prefetch: whether a batch takes so long that it is better made ahead.
    """

    samples: Samples
    shard: Shard
    prefetch: bool


def spread(num_samples: int, wanted: int | None) -> np.ndarray:
    """At most `wanted` indices of so many samples, int64, evenly spread; None for all."""
    if wanted is None or wanted >= num_samples:
        return np.arange(num_samples)
    return np.arange(wanted) * num_samples // wanted
