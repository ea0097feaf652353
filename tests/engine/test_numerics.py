"""Precision of a step, and what it keeps: the same gradients, from less."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny

from layup_jax.engine.engine import Engine, Moment
from layup_jax.engine.evaluate import model_of
from layup_jax.engine.numerics import Numerics
from layup_jax.models import gpt
from layup_jax.strategies import Local

MOMENT = Moment(0, 0, 0)


def _engine(name, numerics):
    make, batch = tiny.MODELS[name]
    model = make()
    cut = [(index, index + 1) for index in range(len(model))]
    return Engine(model, cut, tiny.loss, Local(tiny.sgd()), numerics=numerics), batch()


def _pass(engine, batch):
    """Loss, gradients, model states and tape of one step."""
    outputs, tape, model_states = batch.inputs, [], []
    states = engine.init()
    for segment, state in enumerate(states):
        model_state, passed = engine.forward(segment, state, outputs, batch, MOMENT)
        outputs = passed.outputs
        tape.append(passed)
        model_states.append(model_state)
    gradients, cotangent = [None] * len(engine), None
    for segment in reversed(range(len(engine))):
        gradients[segment], cotangent = engine.gradient(segment, tape[segment], cotangent)
    return outputs, gradients, model_states, tape


def _norm(tree):
    return float(jnp.sqrt(sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(tree))))


def _bytes_kept(tape):
    return sum(leaf.nbytes for passed in tape for leaf in jax.tree.leaves(passed.residuals))


@pytest.mark.parametrize("name", ["normed", "token"])
@pytest.mark.parametrize("remat", ["dots", "full"])
def test_what_is_computed_again_comes_out_the_same(double, name, remat):
    loss, gradients, model_states, tape = _pass(*_engine(name, Numerics()))
    again = _pass(*_engine(name, Numerics(remat=remat)))
    np.testing.assert_allclose(again[0], loss, rtol=1e-6)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7),
        (again[1], again[2]),
        (gradients, model_states),
    )
    assert _bytes_kept(again[3]) <= _bytes_kept(tape)


def test_full_keeps_nothing_but_inputs_and_random_keys():
    _, _, _, tape = _pass(*_engine("normed", Numerics(remat="full")))
    assert _bytes_kept(tape) <= 16 * len(tape)  # a key each


@pytest.mark.parametrize("name", ["normed", "token"])
def test_bfloat16_computes_in_16_bits_and_keeps_32(name):
    engine, batch = _engine(name, Numerics("bfloat16"))
    loss, gradients, model_states, tape = _pass(engine, batch)
    assert loss.dtype == jnp.float32
    between = [leaf.dtype for passed in tape[:-1] for leaf in jax.tree.leaves(passed.outputs)]
    assert {each for each in between if jnp.issubdtype(each, jnp.floating)} == {
        jnp.dtype("bfloat16")
    }
    kept = jax.tree.leaves((gradients, model_states, engine.init()))
    assert {leaf.dtype for leaf in kept if jnp.issubdtype(leaf.dtype, jnp.floating)} == {
        jnp.dtype("float32")
    }
    full = _pass(*_engine(name, Numerics()))
    np.testing.assert_allclose(loss, full[0], rtol=0.05)
    error = jax.tree.map(lambda ours, theirs: ours - theirs, gradients, full[1])
    assert 0 < _norm(error) < 0.1 * _norm(full[1])


def test_evaluation_has_the_precision_of_training():
    plain, batch = _engine("mlp", Numerics())
    half, _ = _engine("mlp", Numerics("bfloat16"))
    model = model_of(plain.init())
    assert half.evaluator(model, batch).loss != plain.evaluator(model, batch).loss
    np.testing.assert_allclose(
        half.evaluator(model, batch).loss, plain.evaluator(model, batch).loss, rtol=0.02
    )


def test_a_transformer_in_16_bits_with_everything_computed_again():
    model = gpt((8,), 7, depth=2, width=16, heads=2, dropout=0.1)
    cut = [(index, index + 1) for index in range(len(model))]
    batch = tiny.Batch(np.arange(32).reshape(4, 8) % 7, np.arange(1, 33).reshape(4, 8) % 7)
    engine = Engine(model, cut, tiny.loss, Local(tiny.sgd()), numerics=Numerics("bfloat16", "full"))
    loss, gradients, _, _ = _pass(engine, batch)
    assert np.isfinite(loss)
    assert all(np.any(leaf != 0) for leaf in jax.tree.leaves(gradients))
