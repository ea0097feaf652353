"""The contract of an algorithm: pure functions on one segment, and a host-side answer to "what now".

A strategy asks; only the worker performs. Time and randomness are arguments. So the same file runs
under MPI, under threads and under virtual time, and is tested with none of them.
"""

from __future__ import annotations

from typing import Any, Protocol

import jax.numpy as jnp
import optax

from layup_jax.draws import Draws
from layup_jax.errors import ConfigError, ModelError
from layup_jax.topology import Topology
from layup_jax.types import Array, Asked, PyTree, Request, SegmentState, SegmentUpdated


class Strategy(Protocol):
    """An algorithm; `layup_jax.testing.strategies` checks what is said here.

    Gossip and gathering keep the sum over workers of weight times parameters, what is under way included;
    averages may take for granted that all workers start equal. A weighted strategy that gathers also
    merges what comes after it has stopped, with `sent` None.

    Attributes:
      name: as in configurations and summaries.
      asks: the kind of all its requests; None promises that `requests` is always empty. It is for
        BackgroundAverage too, which is served without being asked for.
      weighted: whether `weight` differs between workers and travels with what is sent, so that nothing
        that was sent may be left out.
      mixing: name of the rule that merges what arrives; "none" if nothing does.
      topology: who may talk to whom; None for everybody.
    """

    name: str
    weighted: bool
    mixing: str

    @property
    def asks(self) -> Asked:
        """See above."""
        ...

    @property
    def topology(self) -> Topology | None:
        """See above."""
        ...

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
        """What to send, and what is left after sending it. Pure.

        Args:
          state: the state at the moment of sending; opt_state and model_state are None.
          now: scalar, time in seconds.
        """
        ...

    def receive(
        self, state: SegmentState, sent: PyTree | None, payload: PyTree, now: Array
    ) -> SegmentState:
        """Merges what arrived. Pure.

        Args:
          state: the state at the moment of merging, updates made meanwhile included; model_state is
            None, and opt_state is unless a collective asked.
          sent: what we gave in an exchange or to neighbours; None for a push and for an average.
          payload: what the peer's `payload` returned; for an average the mean of all of them.
          now: scalar, time in seconds.
        """
        ...


class OptaxStrategy:
    """Applies each gradient with an optax transformation at once: the base of most strategies.

    A strategy that gives itself no `name` is called like its class.
    """

    name: str
    asks: Asked = None
    weighted = False
    mixing = "none"

    def __init_subclass__(cls, **options: Any):
        """Names the class, where neither it nor a base has a name."""
        super().__init_subclass__(**options)
        if not hasattr(cls, "name"):
            cls.name = cls.__name__

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

    @property
    def topology(self) -> Topology | None:
        """None: everybody may talk to everybody, unless overridden."""
        return None

    def init(self, params: PyTree, model_state: PyTree) -> SegmentState:
        """Fresh optimizer state; mixing state from `init_mixing`."""
        mixing = self.init_mixing(params)
        return SegmentState(params, self._optimizer.init(params), model_state, mixing)

    def init_mixing(self, params: PyTree) -> PyTree:
        """The mixing state of one segment at step 0; nothing unless overridden."""
        del params
        return ()

    def payload(self, state: SegmentState, now: Array) -> tuple[SegmentState, PyTree]:
        """The parameters; nothing changes here, unless overridden."""
        del now
        return state, state.params

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


class OnTopology(OptaxStrategy):
    """An `OptaxStrategy` whose workers only talk to their neighbours."""

    def __init__(self, optimizer: optax.GradientTransformation, topology: Topology):
        """Takes the transformation and the graph.

        Raises:
          ModelError: the optimizer is no optax transformation.
        """
        super().__init__(optimizer)
        self._topology = topology

    @property
    def topology(self) -> Topology:
        """As given."""
        return self._topology


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
