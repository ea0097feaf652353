"""The records that cross module boundaries: what a segment is made of, and what a strategy asks for.

Nouns: `SegmentState` (one segment's arrays), `Push`, `Exchange`, `AllReduce` and `NeighbourGather`
(requests for communication), `BackgroundAverage` (communication without request), `SegmentUpdated` (the
event that makes a strategy ask).

    state = SegmentState(params, optimizer.init(params), model_state, mixing)
    requests = strategy.requests(SegmentUpdated(segment=3, step=17), key)
"""

from __future__ import annotations

from typing import Any, NamedTuple, TypeAlias

import jax
import numpy as np

PyTree: TypeAlias = Any
Array: TypeAlias = jax.Array


class SegmentState(NamedTuple):
    """Everything one worker holds for one segment; immutable, replaced as a whole.

    Attributes:
      params: pytree of trainable arrays.
      opt_state: the optax state of these parameters. None where a function must not touch it.
      model_state: pytree of what a layer carries from step to step without gradient (batch
        statistics); () if nothing.
      mixing: the strategy's own state of this segment (a push-sum weight, say); () if nothing.
    """

    params: PyTree
    opt_state: PyTree
    model_state: PyTree
    mixing: PyTree


class Shape(NamedTuple):
    """Of a flat vector of one segment: number of elements, and their dtype."""

    size: int
    dtype: np.dtype


class SegmentUpdated(NamedTuple):
    """Event: the backward pass of `step` has just updated `segment`."""

    segment: int
    step: int


class Push(NamedTuple):
    """Request: send this segment to `peer` and do not wait for anything in return.

    A newer request replaces an older one for the same segment in the same lane, here and below.
    """

    segment: int
    peer: int
    lane: int = 0


class Exchange(NamedTuple):
    """Request: swap this segment with `peer`; both sides merge what they get."""

    segment: int
    peer: int
    lane: int = 0


class AllReduce(NamedTuple):
    """Request: average this segment's payload over all workers, and merge the mean.

    Attributes:
      segment: what is averaged.
      due: steps that are taken meanwhile. What comes is merged after the last of them, before the
        segment's payload is given again or its next forward pass, which waits for it.
    """

    segment: int
    due: int = 0


class NeighbourGather(NamedTuple):
    """Request: give this segment's payload to some workers, and merge what some (often the same) give.

    Attributes:
      segment: what is given and merged.
      targets: ranks that get it; each of them must have this rank among its sources of that time.
      sources: ranks whose payload of the same turn is merged, in this order.
      due: as in `AllReduce`.
    """

    segment: int
    targets: tuple[int, ...]
    sources: tuple[int, ...]
    due: int = 0


class BackgroundAverage:
    """No request: where it is what a strategy `asks`, segments are averaged all the time.

    The communication threads average the segments over all workers in turn, over and over, each merged
    when it arrives; no compute thread waits.
    """


Gossip: TypeAlias = Push | Exchange
Collective: TypeAlias = AllReduce | NeighbourGather
Request: TypeAlias = Gossip | Collective
Asked: TypeAlias = type[Request] | type[BackgroundAverage] | None
