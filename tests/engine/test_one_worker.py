"""One worker trains exactly as plain optax does on the whole model, step for step, in float64."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import tiny
from flax import nnx

from layup_jax.clock import WallClock
from layup_jax.engine.engine import Engine, Moment
from layup_jax.models import LayeredModel, partition_layers
from layup_jax.optimizers import decayed
from layup_jax.pipeline.base import Parts, Work
from layup_jax.pipeline.interleaved import Interleaved
from layup_jax.store import ParameterStore
from layup_jax.strategies import LayUpOptions, Local, layup
from layup_jax.topology import complete

STEPS = 6
OPTIMIZERS = {
    "momentum": optax.sgd(0.1, momentum=0.9),
    "nesterov": optax.sgd(optax.cosine_decay_schedule(0.2, STEPS), momentum=0.9, nesterov=True),
    "adamw": optax.adamw(
        optax.warmup_cosine_decay_schedule(0.0, 0.05, 2, STEPS),
        eps=1e-5,  # a bias before a normalization has gradient 0: of its rounding is made no step
        weight_decay=0.1,
        mask=decayed,
    ),
    "clipped": optax.chain(optax.clip_by_global_norm(0.05), optax.sgd(0.5)),
}


def _layers():
    rngs = nnx.Rngs(0)
    norms = [tiny.Normed(4, 4, rngs=rngs, dropout=0.0) for _ in range(2)]
    return [*norms, jnp.tanh, nnx.Linear(4, tiny.NUM_CLASSES, rngs=rngs)]


def _batches():
    return [tiny.widened(tiny.features(seed=seed)) for seed in range(STEPS)]


def _trained(partition, strategy, batches):
    """Params of every layer after every step, through engine, store and pipeline."""
    engine = Engine(LayeredModel(_layers()), partition, tiny.loss, strategy)
    states = [strategy.init(*tiny.widened(segment.init())) for segment in engine.segments]
    store, history = ParameterStore(states), []
    pipeline = Interleaved(Parts(engine, store, WallClock(), lambda event: None))
    for step, batch in enumerate(batches):
        result = pipeline.step(Work(batch, Moment(0, 0, step)))
        # Copies: a strategy that never communicates overwrites the parameters in place.
        params = [each for state in store.snapshot() for each in state.params]
        history.append((float(result.loss), jax.tree.map(np.array, params)))
    return history


def _plain(partition, optimizer, batches):
    """The same with flax and optax alone; the optimizer sees one segment's parameters at a time."""
    sequence = nnx.Sequential(*_layers())
    sequence.train()
    graphdef, params, rest = nnx.split(sequence, nnx.Param, ...)
    params, rest = tiny.widened((params, rest))

    def forward(params, rest, batch):
        model = nnx.merge(graphdef, params, rest, copy=True)
        loss = tiny.loss(model(batch.inputs), batch)
        return loss, nnx.state(model, nnx.Not(nnx.Param))

    def pieces(tree):
        layers = nnx.to_pure_dict(tree)["layers"]
        return [tuple(layers.get(i, {}) for i in range(start, stop)) for start, stop in partition]

    @jax.jit
    def step(params, rest, opt_states, batch):
        (loss, rest), grads = jax.value_and_grad(forward, has_aux=True)(params, rest, batch)
        before, after = pieces(params), []
        for piece, grad, opt_state in zip(before, pieces(grads), opt_states, strict=True):
            updates, opt_state = optimizer.update(grad, opt_state, piece)
            after.append((optax.apply_updates(piece, updates), opt_state))
        layers = [layer for piece, _ in after for layer in piece]
        state = jax.tree.map(lambda leaf: leaf, params)
        kept = {"layers": {i: layer for i, layer in enumerate(layers) if layer}}
        nnx.replace_by_pure_dict(state, kept)
        return loss, state, rest, [opt_state for _, opt_state in after], layers

    opt_states, history = [optimizer.init(piece) for piece in pieces(params)], []
    for batch in batches:
        loss, params, rest, opt_states, layers = step(params, rest, opt_states, batch)
        history.append((float(loss), layers))
    return history


def _assert_same(found, expected):
    for (loss, params), (plain_loss, plain_params) in zip(found, expected, strict=True):
        np.testing.assert_allclose(loss, plain_loss, rtol=1e-10)
        jax.tree.map(
            lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12),
            params,
            plain_params,
        )


@pytest.mark.parametrize(
    ("spec", "name"),
    [("layer", name) for name in OPTIMIZERS] + [(2, "clipped"), ("model", "adamw")],
)
def test_training_alone_is_plain_training(double, spec, name):
    partition = partition_layers(spec, [1] * 4)
    found = _trained(partition, Local(OPTIMIZERS[name]), _batches())
    _assert_same(found, _plain(partition, OPTIMIZERS[name], _batches()))


@pytest.mark.parametrize("mixing", ["pairwise", "push_sum"])
def test_layup_without_peers_is_plain_training(double, mixing):
    optimizer = OPTIMIZERS["momentum"]
    partition = partition_layers("layer", [1] * 4)
    strategy = layup(optimizer, complete(1), LayUpOptions(mixing))
    _assert_same(
        _trained(partition, strategy, _batches()), _plain(partition, optimizer, _batches())
    )


def test_the_clip_is_of_one_segment(double):
    """The oracle above would not notice if both sides clipped the whole model."""
    optimizer, batches = OPTIMIZERS["clipped"], _batches()[:1]
    by_layer = _trained(partition_layers("layer", [1] * 4), Local(optimizer), batches)
    whole = _trained(partition_layers("model", [1] * 4), Local(optimizer), batches)
    kernels = [history[0][1][3]["kernel"] for history in (by_layer, whole)]
    assert not np.allclose(*kernels, rtol=1e-6)
