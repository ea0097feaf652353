"""Threads that share one set of parameters and take whole steps on it, without waiting for each other.

    works -> U compute threads, each: forward on the newest, backward, update each segment at once

Hogwild! (no optimizer state), LAP-SGD (every thread has its own momentum) and LPP-SGD (after a warm-up,
every second step of a thread updates its own chunk of the segments only, and differentiates nothing below
it). Where the papers write single coordinates without locks, a segment is replaced as a whole here, which
takes a lock for the update alone: no update is ever lost.

References:
  arXiv 1106.5730 (Hogwild!), arXiv 2203.06638 (LAP-SGD, LPP-SGD).
"""

from __future__ import annotations

import itertools
import threading
from contextlib import nullcontext
from typing import NamedTuple

from layup_jax.pipeline.base import Parts, PipelineStatistics, Work
from layup_jax.pipeline.passes import Passes, Turn
from layup_jax.pipeline.threaded import Threaded
from layup_jax.types import PyTree


class SharedOptions(NamedTuple):
    """How many threads, and what they do.

    Attributes:
      threads: U.
      own_momentum: whether each has an optimizer state of its own.
      partial_from: steps of a thread after which every second one is partial; None for never.
    """

    threads: int
    own_momentum: bool = True
    partial_from: int | None = None


def chunks(segments: int, parts: int) -> list[range]:
    """Cuts segments into so many contiguous chunks, as equal as can be, the first ones larger."""
    ends = [round(part * segments / parts) for part in range(parts + 1)]
    return [range(start, end) for start, end in itertools.pairwise(ends)]


class Shared(Threaded):
    """U compute threads, see above.

    Threads: one calls; `layup-compute-<rank>-<i>` are its own.
    """

    def __init__(self, parts: Parts, options: SharedOptions):
        """Takes what it works on; threads start at the first run."""
        super().__init__(parts, waiting=1)
        self._options = options
        self._passes = Passes(parts, "stored")
        self._numbers = itertools.count()
        self._in_order = threading.Lock() if parts.settle else nullcontext()
        self._chunks = chunks(len(parts.engine), options.threads)

    def warm_up(self, work: Work) -> int:
        """Two whole steps, and if need be one of each chunk."""
        passes = Passes(self._parts.quiet(), "stored")
        partial = [] if self._options.partial_from is None else self._chunks
        steps = (None, None, *partial)
        for chunk in steps:
            passes.backward(passes.forward(work), Turn(0, 0, chunk), work.samples)
        return len(steps)

    def describe(self) -> str:
        """Threads, and what they keep for themselves."""
        options = self._options
        momentum = "own" if options.own_momentum else "shared"
        partial = "" if options.partial_from is None else f", partial from {options.partial_from}"
        return f"shared by {options.threads} threads, {momentum} momentum{partial}"

    def statistics(self) -> PipelineStatistics:
        """Since the start."""
        return PipelineStatistics(
            store_seconds=self._parts.store.waited_seconds(self._crew.identities()),
            spent_seconds=self._passes.spent_seconds(),
            times=self._passes.times(),
            tapes_alive_max=self._options.threads,
        )

    def _start(self) -> None:
        for index in range(self._options.threads):
            self._crew.start("compute", index, self._loop)

    def _loop(self, index: int) -> None:
        own = self._parts.engine.fresh_opt_states() if self._options.own_momentum else None
        for done in itertools.count():
            self._step(self._works.take(), index, done, own)

    def _step(self, work: Work, index: int, done: int, own: list[PyTree] | None) -> None:
        self._crew.at_step(work.moment.step)
        self._parts.delays.before_forward(work.moment.step)
        tape = self._passes.forward(work, index)
        self._parts.delays.before_backward(work.moment.step)
        with self._in_order:
            turn = Turn(next(self._numbers), index, self._chunk(index, done), own)
            result = self._passes.backward(tape, turn, work.samples)
        self._results.put(result)

    def _chunk(self, index: int, done: int) -> range | None:
        """What a thread updates in its step number `done`; None for everything."""
        since = self._options.partial_from
        is_partial = since is not None and done >= since and (done - since) % 2 == 0
        return self._chunks[index] if is_partial else None
