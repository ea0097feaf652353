"""SmallCalls: the bits of one call, from calls that XLA does not share out among threads."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny

from layup_jax.config import StrategyConfig
from layup_jax.engine.small_calls import SmallCalls
from layup_jax.strategies import Setup, make_strategy
from layup_jax.tree import decode, encode
from layup_jax.types import SegmentState

_SIDE_BY_SIDE = 8  # of more kernels than so many XLA computes some on other threads


def _scaled(tree, by, gone=None):
    assert gone is None
    return {"scaled": jax.tree.map(lambda leaf: (leaf * by).astype(leaf.dtype), tree), "none": None}


@pytest.mark.parametrize("count", [0, 1, 5, 6, 23])
def test_the_result_is_that_of_one_call_to_the_last_bit(count):
    draws = np.random.default_rng(count)
    tree = [jnp.asarray(draws.standard_normal((index, 3)), jnp.float32) for index in range(count)]
    tree.append(jnp.asarray([-0.0, jnp.nan, jnp.inf], jnp.bfloat16))
    calls = SmallCalls(_scaled)
    for by in (0.5, -3.0):
        found, expected = calls(tree, by, None), jax.jit(_scaled)(tree, by, None)
        assert jax.tree.structure(found) == jax.tree.structure(expected)
        for one, other in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
            assert np.asarray(one).tobytes() == np.asarray(other).tobytes()


def test_arguments_of_another_kind_have_another_result():
    calls = SmallCalls(lambda tree: [tree, tree])
    one, pair = jnp.ones(2), (jnp.ones(2), jnp.zeros(3))
    for tree in (one, pair, one):
        assert jax.tree.structure(calls(tree)) == jax.tree.structure([tree, tree])


BLOCK = (
    (384,),
    (128, 384),
    (128,),
    (128, 128),
    *[(128,)] * 4,
    (512,),
    (128, 512),
    (128,),
    (512, 128),
)


def _kernels(text):
    """Of a compiled module: what its entry computes."""
    kinds = re.findall(
        r"^  (?:ROOT )?%\S+ = \S.*? ([\w-]+)\(", text[text.index("ENTRY") :], re.MULTILINE
    )
    return [kind for kind in kinds if kind not in ("parameter", "constant", "tuple", "bitcast")]


@pytest.mark.parametrize("name", ["layup", "gosgd", "a2cid2"])
def test_a_merge_of_a_block_has_few_kernels_in_each_call(name):
    strategy = make_strategy(Setup(StrategyConfig(name=name), tiny.sgd(), 4))
    params = [jnp.ones(shape) for shape in BLOCK]
    state = SegmentState(params, None, None, strategy.init_mixing(params))

    def receive(state, sent, received, now):
        payload = strategy.payload(state, now)[1]
        return strategy.receive(state, decode(sent, payload), decode(received, payload), now)

    vector = encode(strategy.payload(state, 0.0)[1])
    calls = SmallCalls(receive)
    counts = [
        len(_kernels(part.compile().as_text())) for part in calls.lower(state, vector, vector, 1.0)
    ]
    whole = jax.jit(receive).lower(state, vector, vector, 1.0).compile().as_text()
    assert len(_kernels(whole)) > _SIDE_BY_SIDE
    assert max(counts) <= _SIDE_BY_SIDE
