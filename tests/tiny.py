"""Small models and batches that between them use everything a segment can hold."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

from layup_jax.data import Batch
from layup_jax.losses import cross_entropy
from layup_jax.models import LayeredModel, conv, lstm, mlp, vit
from layup_jax.types import Exchange, SegmentState

NUM_CLASSES = 3


class Normed(nnx.Module):
    """Linear map, batch normalisation, tanh, dropout: parameters, statistics and random numbers."""

    def __init__(self, num_inputs, num_outputs, *, rngs, dropout=0.5):
        self.linear = nnx.Linear(num_inputs, num_outputs, rngs=rngs)
        self.norm = nnx.BatchNorm(num_outputs, momentum=0.9, rngs=rngs)
        self.dropout = nnx.Dropout(dropout, rngs=rngs)

    def __call__(self, inputs):
        return self.dropout(jnp.tanh(self.norm(self.linear(inputs))))


class Embed(nnx.Module):
    """Tokens to (features, skip connection, mask, tokens): floats, booleans and integers go on."""

    def __init__(self, num_tokens, features, *, rngs):
        self.table = nnx.Param(jax.random.normal(rngs.params(), (num_tokens, features)))

    def __call__(self, tokens):
        features = jnp.take(self.table[...], tokens, axis=0)
        return {"hidden": features, "skip": features, "mask": tokens > 0, "tokens": tokens}


class Mixed(nnx.Module):
    """Works on the hidden part, with dropout, and hands everything else on."""

    def __init__(self, features, *, rngs):
        self.linear = nnx.Linear(features, features, rngs=rngs)
        self.dropout = nnx.Dropout(0.3, rngs=rngs)

    def __call__(self, parts):
        hidden = jnp.tanh(self.linear(parts["hidden"])) + parts["skip"]
        return parts | {"hidden": self.dropout(hidden)}


def pooled(parts):
    """Mean over the positions that are not masked."""
    mask = parts["mask"][..., None].astype(parts["hidden"].dtype)
    return jnp.sum(parts["hidden"] * mask, axis=1) / (1 + jnp.sum(mask, axis=1))


def normed_model(depth=3, dropout=0.5):
    rngs = nnx.Rngs(0)
    blocks = [Normed(4, 4, rngs=rngs, dropout=dropout) for _ in range(depth)]
    return LayeredModel([*blocks, nnx.Linear(4, NUM_CLASSES, rngs=rngs)])


def token_model():
    rngs = nnx.Rngs(1)
    blocks = [Mixed(4, rngs=rngs) for _ in range(2)]
    head = nnx.Linear(4, NUM_CLASSES, rngs=rngs)
    return LayeredModel([Embed(7, 4, rngs=rngs), *blocks, pooled, head])


def conv_model():
    return conv((4, 4, 1), NUM_CLASSES, channels=(2, 2, 3), pooled=(1,), dropout=0.4)


def mlp_model(depth=4):
    return mlp((4,), NUM_CLASSES, width=5, depth=depth)


def vit_model():
    return vit((4, 4, 1), NUM_CLASSES, patch=2, width=4, depth=1, heads=2, dropout=0.2)


def lstm_model():
    return lstm((5,), NUM_CLASSES, vocabulary=7, width=4, units=2, depth=1)


def features(samples=8, seed=0, shape=(4,)):
    """Float inputs and labels that depend on them."""
    rng = np.random.default_rng(seed)
    inputs = rng.normal(size=(samples, *shape)).astype(np.float32)
    labels = np.argmax(inputs.reshape(samples, -1)[:, :NUM_CLASSES], axis=1).astype(np.int32)
    return Batch(inputs, labels)


def tokens(samples=8, seed=0):
    """Integer inputs, some of which are padding."""
    rng = np.random.default_rng(seed)
    inputs = rng.integers(0, 7, size=(samples, 5)).astype(np.int32)
    return Batch(inputs, (inputs[:, 0] % NUM_CLASSES).astype(np.int32))


def images(samples=8, seed=0):
    return features(samples, seed, (4, 4, 1))


MODELS = {
    "normed": (normed_model, features),
    "token": (token_model, tokens),
    "conv": (conv_model, images),
    "mlp": (mlp_model, features),
    "vit": (vit_model, images),
    "lstm": (lstm_model, tokens),
}
loss = cross_entropy


def widened(tree):
    """The same pytree with its floats in 64 bits where these are enabled."""
    widest = jnp.result_type(float)
    return jax.tree.map(
        lambda leaf: leaf.astype(widest) if jnp.issubdtype(leaf.dtype, jnp.inexact) else leaf,
        tree,
    )


def sgd(learning_rate=0.1):
    return optax.sgd(learning_rate)


class Keeper:
    """A strategy that changes nothing and keeps each gradient as the segment's mixing state."""

    name = "keeper"

    def __init__(self, asks=Exchange):
        self.asks = asks

    def init(self, params, model_state):
        params, model_state = widened((params, model_state))
        return SegmentState(params, (), model_state, jax.tree.map(jnp.zeros_like, params))

    def apply_gradient(self, state, grads, now):
        del now
        return state._replace(mixing=grads)
