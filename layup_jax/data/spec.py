"""What one worker loads, as a record.

Nouns: `LoaderSpec`.

    spec = LoaderSpec("digits", batch_size=32, rank=1, num_workers=4)
    test_spec = dataclasses.replace(spec, split="test")
    spec.shard(1437).batches_per_epoch  # 11
"""

from __future__ import annotations

import os
from dataclasses import dataclass

from layup_jax.data.form import DEFAULT_FORM, SampleForm
from layup_jax.data.shard import Shard
from layup_jax.errors import ConfigError


@dataclass(frozen=True)
class LoaderSpec:
    """What one worker loads; equal specs give equal batches, on disk or in memory.

    Attributes:
      name: a TFDS data set, "digits" or "stdlib"; only a label where arrays are passed.
      split: a TFDS split, such as "train" or "train[:80%]".
      batch_size: samples in a batch of this worker, at least 1.
      seed: of the order, at least 0.
      rank: this worker, in [0, num_workers).
      num_workers: workers that share the split, at least 1.
      data_dir: folder of the data sets. None for TFDS's default.
      num_classes: labels must lie below it. None to leave them unchecked.
      memory_limit_bytes: a shard that is larger decoded is read from disk batch by batch; tokens of
        text are kept in memory all the same.
      form: how records become samples.
    """

    name: str = "digits"
    split: str = "train"
    batch_size: int = 32
    seed: int = 0
    rank: int = 0
    num_workers: int = 1
    data_dir: str | os.PathLike | None = None
    num_classes: int | None = None
    memory_limit_bytes: int = 256 * 2**20
    form: SampleForm = DEFAULT_FORM

    def __post_init__(self) -> None:
        """Raises ConfigError if a number is out of range."""
        for field, least in (("batch_size", 1), ("num_workers", 1), ("seed", 0)):
            value = getattr(self, field)
            if value < least:
                raise ConfigError(f"{field} must be at least {least}, got {value}; raise it.")
        if not 0 <= self.rank < self.num_workers:
            raise ConfigError(
                f"rank must lie in [0, {self.num_workers}), got {self.rank}; "
                "pass the worker's own rank or a larger num_workers"
            )

    def shard(self, num_samples: int) -> Shard:
        """This worker's share of a split of `num_samples`, not yet checked."""
        return Shard(num_samples, self.batch_size, self.seed, self.rank, self.num_workers)
