"""The grain pipeline: an endless, resumable stream of one shard's batches.

Nouns: none; `open_stream` gives a `grain.DatasetIterator`. Only this module imports grain.

    batch numbers 0, 1, 2, ...  ->  epoch, slot  ->  32 indices  ->  samples.gather
    stream = open_stream(samples, shard, prefetch=False)
    batch, state = next(stream), stream.get_state()
"""

from __future__ import annotations

from typing import Any

import grain
import numpy as np

from layup_jax.data.batch import Batch
from layup_jax.data.samples import Samples
from layup_jax.data.shard import Shard
from layup_jax.host import allowed_cores

_MOST_THREADS = 16
_NO_PREFETCH = grain.ReadOptions(num_threads=0, prefetch_buffer_size=0)


class _BatchReader:
    """Batch `number` of a shard, for any number from 0; the same one whenever it is asked.

    Threads: any number may call; they share the order of one epoch, replaced as a whole.
    """

    def __init__(self, samples: Samples, shard: Shard) -> None:
        """Reads `samples` in the order of `shard`."""
        self._samples = samples
        self._shard = shard
        self._epoch_order: tuple[int, np.ndarray] = (-1, np.empty(0, np.int64))

    def __call__(self, number: int, slot: int) -> Batch:
        """Gathers batch `number`, which is batch `slot` of its epoch."""
        size = self._shard.batch_size
        order = self._order(number // self._shard.batches_per_epoch)
        return self._samples.gather(order[slot * size : (slot + 1) * size], number)

    def _order(self, wanted: int) -> np.ndarray:
        epoch, order = self._epoch_order
        if epoch != wanted:
            order = self._shard.order(wanted)
            self._epoch_order = (wanted, order)
        return order


def open_stream(samples: Samples, shard: Shard, *, prefetch: bool) -> Any:
    """Starts the endless stream of a shard's batches.

    Grain runs over batch numbers, not samples: 14 us a batch instead of per-sample Python work.

    Args:
      samples: of the shard.
      shard: their order and batch size.
      prefetch: read ahead with grain's own threads, one for each core but at least two; worth it only
        where a batch is decoded or augmented (a hand-over between threads costs more than a copy from
        memory).

    Returns:
      A `grain.DatasetIterator` of `Batch`; its state is the number of the next batch.
    """
    slots = grain.MapDataset.range(shard.batches_per_epoch).repeat()
    batches = slots.map_with_index(_BatchReader(samples, shard))
    return iter(batches.to_iter_dataset(_ahead() if prefetch else _NO_PREFETCH))


def _ahead() -> grain.ReadOptions:
    threads = min(max(2, len(allowed_cores())), _MOST_THREADS)
    return grain.ReadOptions(num_threads=threads, prefetch_buffer_size=threads + 2)
