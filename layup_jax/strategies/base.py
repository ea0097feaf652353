"""The contract of an algorithm: pure functions on one segment, and a host-side answer to "what now".

A strategy asks; only the worker performs. Time and randomness are arguments. So the same file runs
under MPI, under threads and under virtual time, and is tested with none of them.
"""

from __future__ import annotations

from typing import Protocol

import jax.numpy as jnp
import optax

from layup_jax.draws import Draws
from layup_jax.errors import ConfigError, ModelError
from layup_jax.topology import Topology
from layup_jax.types import Array, PyTree, Request, SegmentState, SegmentUpdated


class Strategy(Protocol):
    """An algorithm.

    Attributes:
      name: as in configurations and summaries.
      communicates: False promises that `requests` is always empty, so that parameters may be
        updated in place.
      one_way: True if it asks for pushes, False if for exchanges.
      mixing: name of the rule that merges what arrives; "none" if nothing does.
      topology: who may talk to whom; None for everybody.
    """

    name: str
    communicates: bool
    one_way: bool
    mixing: str
    topology: Topology | None

    def init(self, params: PyTree, model_state: PyTree) -> SegmentState:
        """State of one segment at step 0, with fresh optimizer and mixing state."""
        ...

    def apply_gradient(self, state: SegmentState, grads: PyTree, now: Array) -> SegmentState:
        """The state after one gradient. Pure; compiled together with the segment's VJP.

        Args:
          state: the live state; its model_state is to be handed on untouched.
          grads: pytree like state.params.
          now: scalar, time in seconds.
        """
        ...

    def weight(self, state: SegmentState) -> Array:
        """This worker's scalar weight in the mean over workers that is the result of a run. Pure."""
        ...

    def requests(self, event: SegmentUpdated, draws: Draws) -> tuple[Request, ...]:
        """What is to be communicated now; called by the compute thread after each update.

        Args:
          event: what has just happened.
          draws: this worker's random numbers, each named by what it is for.
        """
        ...

    def payload(self, state: SegmentState, now: Array) -> tuple[SegmentState, PyTree]:
        """What to send, and what is left after sending it. Pure; sees no opt_state.

        Args:
          state: the state at the moment of sending; opt_state and model_state are None.
          now: scalar, time in seconds.
        """
        ...

    def receive(
        self, state: SegmentState, sent: PyTree | None, payload: PyTree, now: Array
    ) -> SegmentState:
        """Merges what arrived. Pure; sees no opt_state.

        Args:
          state: the state at the moment of merging, updates made meanwhile included; opt_state
            and model_state are None.
          sent: what we gave in an exchange; None for a push.
          payload: what the peer's `payload` returned.
          now: scalar, time in seconds.
        """
        ...


class OptaxStrategy:
    """Applies each gradient with an optax transformation at once: the base of most strategies."""

    topology: Topology | None = None

    def __init__(self, optimizer: optax.GradientTransformation):
        """Takes the transformation; it is initialised and applied for each segment by itself.

        Raises:
          ModelError: it is no optax transformation.
        """
        if not (hasattr(optimizer, "init") and hasattr(optimizer, "update")):
            raise ModelError(
                f"the optimizer must be an optax transformation, got {optimizer!r}; "
                "pass one such as optax.adam(1e-3)"
            )
        self._optimizer = optax.with_extra_args_support(optimizer)

    def init(self, params: PyTree, model_state: PyTree) -> SegmentState:
        """Fresh optimizer state; mixing state from `init_mixing`."""
        mixing = self.init_mixing(params)
        return SegmentState(params, self._optimizer.init(params), model_state, mixing)

    def init_mixing(self, params: PyTree) -> PyTree:
        """The mixing state of one segment at step 0; nothing unless overridden."""
        del params
        return ()

    def weight(self, state: SegmentState) -> Array:
        """1: all workers count the same unless overridden."""
        del state
        return jnp.ones((), jnp.float32)

    def apply_gradient(self, state: SegmentState, grads: PyTree, now: Array) -> SegmentState:
        """One optax step."""
        del now
        updates, opt_state = self._optimizer.update(grads, state.opt_state, state.params)
        params = optax.apply_updates(state.params, updates)
        return state._replace(params=params, opt_state=opt_state)


def require_undirected(name: str, topology: Topology) -> None:
    """Refuses a graph on which exchanges are not possible.

    Raises:
      ConfigError: it is directed.
    """
    if topology.directed:
        raise ConfigError(
            f"{name} needs an undirected topology, got '{topology.name}'; "
            "use another one, or a method that pushes"
        )
