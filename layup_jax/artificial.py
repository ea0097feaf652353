"""What of a configured run is artificial: emulated layers, stragglers, slow links.

delays = configured_delays(config, rank, engine.segments)        # of passes
transport = configured_transport(config, transport)              # of messages
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from layup_jax.config import RunConfig
from layup_jax.draws import Draws
from layup_jax.models.layers import Segment
from layup_jax.pauses import Pauses
from layup_jax.pipeline.delays import Delays, Emulated
from layup_jax.transport.base import Transport
from layup_jax.transport.delayed import DelayedTransport, Link

_FORWARD, _BACKWARD, _MESSAGE = 16, 17, 18  # streams of draws; strategies have smaller ones


def configured_delays(config: RunConfig, rank: int, segments: Sequence[Segment]) -> Delays:
    """What the passes of one worker take longer."""
    emulated = _emulated(config, segments)
    delay = config.delay
    if not delay.concerns(rank):
        return Delays(emulated=emulated)
    return Delays(
        _pauses(config, rank, delay.seconds, _FORWARD),
        _pauses(config, rank, delay.backward_seconds, _BACKWARD),
        emulated,
        delay.slowdown,
    )


def configured_transport(config: RunConfig, transport: Transport) -> Transport:
    """The same transport, or one that holds back what it is given where this worker's link is slow."""
    delay, rank = config.delay, transport.rank
    is_slow = delay.message_seconds > 0 or delay.link_mbit is not None
    if not (is_slow and delay.concerns(rank)):
        return transport
    speed = math.inf if delay.link_mbit is None else delay.link_mbit * 1e6 / 8
    return DelayedTransport(
        transport, Link(_pauses(config, rank, delay.message_seconds, _MESSAGE), speed)
    )


def _emulated(config: RunConfig, segments: Sequence[Segment]) -> Emulated:
    if not config.emulation.is_set:
        return Emulated()
    forward, backward = config.emulation.forward_seconds, config.emulation.backward_seconds
    return Emulated(
        tuple(each.num_parametric * forward for each in segments),
        tuple(each.num_parametric * backward for each in segments),
    )


def _pauses(config: RunConfig, rank: int, seconds: float, stream: int) -> Pauses:
    delay = config.delay
    return Pauses(seconds, delay.pattern, delay.every, Draws(config.seed, rank), stream)
