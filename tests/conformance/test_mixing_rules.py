"""Every mixing rule passes the conformance suite."""

import jax.numpy as jnp
import pytest

from layup_jax.mixing import pairwise, push_sum
from layup_jax.testing import mixing


class Pairwise:
    mutual = True

    def __init__(self, share=0.5):
        self.share = share

    def init(self, params):
        return params, jnp.ones(())

    def give(self, state):
        return state, state[0]

    def take(self, state, sent, message):
        return pairwise.merge(state[0], sent, message, self.share), state[1]


class PushSum:
    mutual = False

    def init(self, params):
        return params, push_sum.initial_weight()

    def give(self, state):
        kept, sent = push_sum.split(state[1])
        return (state[0], kept), (state[0], sent)

    def take(self, state, sent, message):
        del sent
        return push_sum.merge(*state, *message)


RULES = {"pairwise": Pairwise(), "pairwise-0.2": Pairwise(0.2), "push_sum": PushSum()}


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
@pytest.mark.parametrize("check", mixing.CHECKS, ids=lambda check: check.__name__)
def test_conforms(check, rule):
    check(rule)
