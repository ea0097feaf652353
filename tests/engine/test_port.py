"""Port and wire: vectors out of the store and into it, whatever a segment holds."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny

from layup_jax.engine.port import Port
from layup_jax.engine.wire import Wire
from layup_jax.store import ParameterStore
from layup_jax.strategies import LayUpOptions, layup
from layup_jax.topology import complete
from layup_jax.types import Shape


class Stopped:
    """A clock that does not go."""

    def now(self):
        return 0.0


PARAMS = (
    {"kernel": jnp.arange(6.0).reshape(2, 3), "bias": jnp.ones(3, jnp.bfloat16)},
    (),
    {"scale": jnp.zeros(())},
)


def _parts(mixing, params=PARAMS):
    strategy = layup(tiny.sgd(), complete(2), LayUpOptions(mixing))
    store = ParameterStore([strategy.init(params, {"count": jnp.zeros(2, jnp.int32)})])
    return store, Port(store, Wire(strategy), Stopped())


def _assert_equal(left, right):
    assert jax.tree.map(jnp.result_type, left) == jax.tree.map(jnp.result_type, right)
    jax.tree.map(np.testing.assert_array_equal, left, right)


def test_an_exchange_with_oneself_changes_nothing():
    store, port = _parts("pairwise")
    before = store.read(0).state
    vector = port.outgoing(0)
    assert (vector.shape, vector.dtype) == ((10,), port.shapes[0].dtype)
    assert store.read(0).state is before
    port.incoming(0, vector, np.asarray(vector))
    _assert_equal(store.read(0).state, before)
    assert store.read(0).version == 1


def test_a_push_leaves_with_half_of_the_weight():
    store, port = _parts("push_sum")
    vector = port.outgoing(0)
    assert vector.shape == (11,)
    assert store.read(0).state.mixing == 0.5
    _assert_equal(store.read(0).state.params, PARAMS)
    port.incoming(0, None, np.asarray(vector))
    assert store.read(0).state.mixing == 1
    _assert_equal(store.read(0).state.params, PARAMS)


@pytest.mark.parametrize("mixing", ["pairwise", "push_sum"])
def test_optimizer_and_model_state_are_the_very_same_objects_afterwards(mixing):
    store, port = _parts(mixing)
    before = store.read(0).state
    sent = port.outgoing(0)
    port.incoming(0, sent if mixing == "pairwise" else None, np.asarray(sent) + 1)
    after = store.read(0).state
    assert after.opt_state is before.opt_state
    assert after.model_state is before.model_state


def test_an_update_made_during_an_exchange_is_kept_whole():
    store, port = _parts("pairwise", ({"x": jnp.array([1.0, 5.0])},))
    sent = port.outgoing(0)
    moved = store.read(0).state._replace(params=({"x": jnp.array([11.0, 5.0])},))
    store.update(0, lambda state: (moved, None))
    port.incoming(0, sent, np.array([3.0, 1.0], np.float32))
    np.testing.assert_array_equal(store.read(0).state.params[0]["x"], [12.0, 3.0])


def test_a_received_vector_is_not_written_to():
    store, port = _parts("pairwise")
    sent, received = port.outgoing(0), np.full(10, 2, np.float32)
    port.incoming(0, sent, received)
    store.update(0, lambda state: (jax.tree.map(lambda leaf: leaf + 1, state), None))
    np.testing.assert_array_equal(received, np.full(10, 2))


def test_vectors_are_as_wide_as_the_widest_leaf(double):
    _, port = _parts("pairwise", ({"x": jnp.zeros(2), "y": jnp.zeros(1, jnp.bfloat16)},))
    assert port.shapes == (Shape(3, np.dtype(np.float64)),)
    assert port.outgoing(0).dtype == np.float64


@pytest.mark.parametrize("mixing", ["pairwise", "push_sum"])
def test_warming_up_compiles_everything(mixing, compilations):
    _store, port = _parts(mixing)
    prepared = []
    port.warm_up(prepared.append if mixing == "pairwise" else None)
    assert [each.shape for each in prepared] == ([(10,)] if mixing == "pairwise" else [])
    received = np.ones(10 if mixing == "pairwise" else 11, np.float32)
    with compilations() as compiled:
        sent = port.outgoing(0)
        port.incoming(0, sent if mixing == "pairwise" else None, received)
    assert compiled == []


def test_a_received_vector_is_all_there_before_a_slot_is_locked_for_it():
    """Else XLA would merge it on a thread of its own, and all that waits for the result as well."""
    wire = Wire(layup(tiny.sgd(), complete(2), LayUpOptions("pairwise")))
    unaligned = np.ones(2**24 + 1, np.float32)[
        1:
    ]  # which is copied, in the background if it may be
    assert wire.placed(unaligned).is_ready()
