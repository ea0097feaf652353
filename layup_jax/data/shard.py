"""One worker's share of a data set, and the order in which each epoch visits it.

Nouns: `Shard`.

    samples   0 1 2 3 4 5 6 7 8     three workers, rank 1
    shard       1     4     7       every third, remainder of the division dropped
    epoch 0     4     1     7       order drawn from (seed, rank, epoch)
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from layup_jax.errors import DataError


@dataclass(frozen=True)
class Shard:
    """Which samples a worker visits, and when; pure.

    The shards of all ranks are disjoint, equally large, and the same in every epoch.

    Attributes:
      num_samples: samples in the whole split.
      batch_size: samples in a batch of one worker.
      seed: at least 0.
      rank: this worker, in [0, num_workers).
      num_workers: at least 1.
    """

    num_samples: int
    batch_size: int
    seed: int
    rank: int
    num_workers: int

    @property
    def size(self) -> int:
        """Samples in this shard, whether or not they fill the last batch."""
        return self.num_samples // self.num_workers

    @property
    def batches_per_epoch(self) -> int:
        """Full batches in an epoch; which samples are left over changes from epoch to epoch."""
        return self.size // self.batch_size

    @property
    def positions(self) -> np.ndarray:
        """int64 (size,): the samples of the split that belong to this shard."""
        return self.rank + self.num_workers * np.arange(self.size)

    def order(self, epoch: int) -> np.ndarray:
        """int64 (size,): the permutation of [0, size) in which `epoch` visits the shard."""
        return np.random.default_rng((self.seed, self.rank, epoch)).permutation(self.size)

    def check(self, what: str) -> None:
        """Raises if a batch cannot be filled.

        Args:
          what: the samples, for the message.

        Raises:
          DataError: if there are more workers than samples, or a batch exceeds the shard.
        """
        self.check_size(what)
        if self.batches_per_epoch == 0:
            raise DataError(
                f"batch_size must be at most {self.size}, one worker's share of {what}, "
                f"got {self.batch_size}; lower batch_size or use fewer workers"
            )

    def check_size(self, what: str) -> None:
        """Raises DataError if there are more workers than samples; `what` as in `check`."""
        if self.size == 0:
            raise DataError(
                f"{what} must have a sample for each worker, got {self.num_samples} "
                f"samples for {self.num_workers} workers; use fewer workers or a larger split"
            )
