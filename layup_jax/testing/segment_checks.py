"""Checks of a strategy's functions on one segment: pure, shapes kept, compiled once.

Parameters are of two dtypes, in a tuple of dictionaries of which one is empty, as layers have them.
"""

from __future__ import annotations

from typing import Any, get_args

import jax
import jax.numpy as jnp
import numpy as np
import optax

from layup_jax.engine.wire import bare
from layup_jax.strategies import Strategy
from layup_jax.testing.comparison import copied, require_equal, require_same_shapes
from layup_jax.testing.compilations import compilations
from layup_jax.testing.kinds import WORKERS, Make
from layup_jax.testing.messages import Messages
from layup_jax.tree import decode, encode
from layup_jax.types import (
    AllReduce,
    Array,
    BackgroundAverage,
    Exchange,
    Push,
    PyTree,
    Request,
    SegmentState,
)

_STATISTICS = ({"mean": np.arange(3.0, dtype=np.float32)}, {})


def _made(make: Make) -> Strategy:
    return make(optax.sgd(0.1, momentum=0.9), WORKERS)


def _params(seed: int) -> PyTree:
    rng = np.random.default_rng(seed)
    return (
        {
            "kernel": jnp.asarray(rng.normal(size=(2, 3)), jnp.float32),
            "half": jnp.asarray(rng.normal(size=3), jnp.bfloat16),
        },
        {},
    )


def _state(strategy: Strategy, seed: int = 0) -> SegmentState:
    return strategy.init(_params(seed), jax.tree.map(jnp.asarray, _STATISTICS))


def _now() -> Array:
    return jnp.asarray(1.5)  # weakly typed, as a clock's number is inside a compiled function


def _round(strategy: Strategy, state: SegmentState, other: SegmentState) -> Any:
    """One gradient, then one communication."""
    after = strategy.apply_gradient(state, _params(2), _now())
    return Messages(strategy).meet(after, other, _now())


def says_what_it_is(make: Make) -> None:
    """Its attributes are there and go together."""
    strategy = _made(make)
    assert isinstance(strategy.name, str), f"name must be a string, got {strategy.name!r}"
    assert strategy.name, "name must not be empty"
    kinds = (None, BackgroundAverage, *get_args(Request))
    assert strategy.asks in kinds, f"asks must be one of {kinds}, got {strategy.asks!r}"
    assert isinstance(strategy.weighted, bool), "weighted must be True or False"
    assert isinstance(strategy.mixing, str), "mixing must be a string"
    assert (strategy.mixing == "none") == (strategy.asks is None), (
        f"mixing must be 'none' where nothing is asked for, and only there, got '{strategy.mixing}' "
        f"with asks = {strategy.asks!r}"
    )
    topology = strategy.topology
    if topology is not None:
        assert topology.num_workers == WORKERS, (
            f"the topology must have the {WORKERS} workers asked for, got {topology.num_workers}"
        )
        assert not (topology.directed and strategy.asks is Exchange), (
            f"exchanges need an undirected topology, got '{topology.name}'"
        )


def starts_with_what_it_is_given(make: Make) -> None:
    """The initial state holds these parameters and this model state, with weight 1."""
    strategy = _made(make)
    state = _state(strategy)
    require_equal(state.params, _params(0), "init must keep the parameters")
    require_equal(state.model_state, _STATISTICS, "init must keep the model state")
    weight = float(strategy.weight(state))
    assert weight == 1, f"every worker must start with weight 1, got {weight}"


def keeps_shapes_and_dtypes(make: Make) -> None:
    """A gradient or a communication leaves all shapes and dtypes as they were."""
    strategy = _made(make)
    state = _state(strategy)
    after = strategy.apply_gradient(state, _params(2), _now())
    require_same_shapes(after, state, "apply_gradient must keep all shapes and dtypes")
    for each in Messages(strategy).meet(after, _state(strategy, 1), _now()):
        require_same_shapes(each, state, "payload and receive must keep all shapes and dtypes")


def weighs_in_float32(make: Make) -> None:
    """`weight` is a float32 scalar, and 1 throughout where it is not said to differ."""
    strategy = _made(make)
    for state in (_state(strategy), *_round(strategy, _state(strategy), _state(strategy, 1))):
        weight = strategy.weight(state)
        assert (weight.shape, weight.dtype) == ((), jnp.float32), (
            f"weight must be a float32 scalar, got {weight.dtype}{list(weight.shape)}"
        )
        assert strategy.weighted or weight == 1, (
            f"the weight must stay 1 where weighted is False, got {weight}"
        )


def leaves_its_arguments_alone(make: Make) -> None:
    """Nothing that it is given is changed in place."""
    strategy = _made(make)
    given = (_state(strategy), _state(strategy, 1), _params(2))
    before = copied(given)
    after = strategy.apply_gradient(given[0], given[2], _now())
    Messages(strategy).meet(after, given[1], _now())
    require_equal(given, before, "arguments must not be changed in place")


def hands_on_the_model_state(make: Make) -> None:
    """A gradient leaves the very same model state."""
    strategy = _made(make)
    state = _state(strategy)
    after = strategy.apply_gradient(state, _params(2), _now())
    assert after.model_state is state.model_state, "apply_gradient must hand on the model state"


def touches_only_what_it_is_shown(make: Make) -> None:
    """Where a part of the state is None, it is None afterwards."""
    strategy = _made(make)
    state, messages = _state(strategy), Messages(strategy)
    after, payload = strategy.payload(bare(state), _now())
    assert (after.opt_state, after.model_state) == (None, None), (
        "payload must leave opt_state and model_state None"
    )
    sent = None if strategy.asks in (Push, AllReduce) else payload
    after = strategy.receive(messages.seen(state), sent, payload, _now())
    assert after.model_state is None, "receive must leave model_state None"
    assert messages.is_collective or after.opt_state is None, (
        "receive must leave opt_state None in gossip"
    )


def sends_what_can_travel(make: Make) -> None:
    """What is sent survives being made one vector and back."""
    strategy = _made(make)
    _, payload = strategy.payload(bare(_state(strategy)), _now())
    for leaf in jax.tree.leaves(payload):
        assert jnp.issubdtype(leaf.dtype, jnp.floating), (
            f"a payload must consist of floating-point arrays, got one of {leaf.dtype}"
        )
    arrived = decode(encode(payload), payload)
    require_equal(arrived, payload, "a payload must survive being sent")


def gives_the_same_for_the_same(make: Make) -> None:
    """Same arguments, same results; nothing is remembered outside of the state."""
    strategy = _made(make)
    first, second, of_another_object = (
        _round(each, _state(each), _state(each, 1)) for each in (strategy, strategy, _made(make))
    )
    require_equal(second, first, "the same arguments must give the same results")
    require_equal(of_another_object, first, "all objects made alike must give the same results")


def compiles_once(make: Make) -> None:
    """Results can be put in again without a second compilation."""
    strategy = _made(make)
    messages = Messages(strategy)
    apply = jax.jit(lambda *arguments: strategy.apply_gradient(*arguments))
    meet = jax.jit(lambda *arguments: messages.meet(*arguments))
    state, other, compiled = _state(strategy), _state(strategy, 1), []
    for attempt in range(2):
        grads, now = _params(attempt), 0.5 * attempt
        with compilations() as names:
            state = apply(state, grads, now)
            state, other = meet(state, other, now)
        compiled.append(names)
    assert compiled[0], "this version of jax does not say what it compiles"
    assert not compiled[1], f"a second call with equal shapes must not compile {compiled[1]}"


def takes_a_segment_without_parameters(make: Make) -> None:
    """A layer without parameters makes an empty segment."""
    strategy = _made(make)
    state = strategy.init(({}, ()), ())
    after = strategy.apply_gradient(state, ({}, ()), _now())
    for each in Messages(strategy).meet(after, state, _now()):
        require_same_shapes(each, state, "an empty segment must stay one")


CHECKS = (
    says_what_it_is,
    starts_with_what_it_is_given,
    keeps_shapes_and_dtypes,
    weighs_in_float32,
    leaves_its_arguments_alone,
    hands_on_the_model_state,
    touches_only_what_it_is_shown,
    sends_what_can_travel,
    gives_the_same_for_the_same,
    compiles_once,
    takes_a_segment_without_parameters,
)
