"""Port and wire: vectors out of the store and into it, whatever a segment holds."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny

from layup_jax.config import StrategyConfig
from layup_jax.engine.port import Port
from layup_jax.engine.wire import Wire, WireOptions
from layup_jax.errors import ConfigError, ModelError
from layup_jax.store import ParameterStore
from layup_jax.strategies import STRATEGIES, LayUpOptions, Setup, layup, make_strategy
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


def _parts(mixing, params=PARAMS, dtype="float32"):
    strategy = layup(tiny.sgd(), complete(2), LayUpOptions(mixing))
    store = ParameterStore([strategy.init(params, {"count": jnp.zeros(2, jnp.int32)})])
    return store, Port(store, Wire(strategy, options=WireOptions(dtype)), Stopped())


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


def test_narrow_vectors_have_half_the_bytes_and_whole_weights():
    store, port = _parts("push_sum", dtype="bfloat16")
    vector = port.outgoing(0)
    words = 9 + 2 + 2  # elements of arrays; a scalar parameter and the weight
    assert port.shapes == (Shape(words, np.dtype(np.uint16)),)
    assert (vector.shape, vector.dtype) == ((words,), np.uint16)
    port.incoming(0, None, np.asarray(vector))
    assert store.read(0).state.mixing == 1
    _assert_equal(store.read(0).state.params, PARAMS)


@pytest.mark.parametrize("mixing", ["pairwise", "push_sum"])
def test_narrow_messages_lose_no_updates_smaller_than_their_rounding(mixing):
    """Numbers above 1 are 2^-7 apart in bfloat16: were means pulled to them, these would stay at 1."""
    workers = [_parts(mixing, {"x": jnp.ones(3)}, "bfloat16") for _ in range(2)]

    def step(state):
        return state._replace(params={"x": state.params["x"] + 2**-11}), None

    for turn in range(200):
        for store, _ in workers:
            store.update(0, step)
        _communicate([port for _, port in workers], mixing, turn)
    for store, _ in workers:
        np.testing.assert_allclose(store.read(0).state.params["x"], 1 + 200 * 2**-11, rtol=1e-6)


def _communicate(ports, mixing, turn):
    """An exchange, or a push by one of two in turn."""
    sender, receiver = ports if turn % 2 else reversed(ports)
    sent = sender.outgoing(0)
    if mixing == "pairwise":
        replied = receiver.outgoing(0)
        sender.incoming(0, sent, replied)
        receiver.incoming(0, replied, sent)
    else:
        receiver.incoming(0, None, np.asarray(sent))


_GOSSIP = {"layup", "pd_asgd", "a2cid2", "gosgd", "ad_psgd", "sgp", "osgp", "d_psgd"}


@pytest.mark.parametrize("name", sorted(STRATEGIES.keys() - _GOSSIP))
def test_what_only_sums_has_no_narrow_messages(name):
    strategy = make_strategy(Setup(StrategyConfig(name), tiny.sgd(), 4))
    with pytest.raises(ConfigError, match=f"bfloat16 needs messages .*, and {name} sends none"):
        Wire(strategy, options=WireOptions("bfloat16"))


@pytest.mark.parametrize("name", sorted(_GOSSIP))
def test_what_gossips_has_narrow_messages(name):
    strategy = make_strategy(Setup(StrategyConfig(name), tiny.sgd(), 4))
    wire = Wire(strategy, options=WireOptions("bfloat16"))
    given = wire.given(strategy.init({"x": jnp.zeros(100)}, ()))
    assert wire.shape(given) == Shape(102 if strategy.weighted else 100, np.dtype(np.uint16))


def test_complex_numbers_are_not_narrowed():
    with pytest.raises(ModelError, match="needs real parameters, got complex64"):
        _parts("pairwise", {"x": jnp.zeros(2, jnp.complex64)}, "bfloat16")
