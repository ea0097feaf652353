r"""Continuous momentum: a twin of the parameters that makes poor topologies mix like good ones.

x, twin = flow(x, twin, eta * elapsed)                 # before every event, over the time since the last
sent = x                                               # given to the peer
x, twin = merge(x, twin, sent, y, alpha)               # when the peer's y arrives
"""

from __future__ import annotations

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp

from layup_jax.mixing import pairwise
from layup_jax.types import Array, PyTree


class Momentum(NamedTuple):
    """How strongly parameters and twin act on each other.

    Attributes:
      eta: rate at which they flow into each other, by unit of time; 0 turns the momentum off.
      alpha: share of a difference to a peer by which the twin moves; 1/2 turns the momentum off.
    """

    eta: float
    alpha: float


def momentum(chi1: float, chi2: float) -> Momentum:
    r"""The optimal constants of a graph.

    :math:`\eta = 1/(2\sqrt{\chi_1\chi_2})` and :math:`\tilde\alpha = \sqrt{\chi_1/\chi_2}/2`.

    Args:
      chi1: inverse of the Laplacian's smallest positive eigenvalue; time is measured in the unit of
        the Laplacian's rates. 0 for a single worker, which has nothing to mix.
      chi2: half of the largest resistance of an edge, same unit.

    References:
      A2CiD2, arXiv 2306.08289.
    """
    if chi1 == 0:
        return Momentum(0.0, 0.5)
    return Momentum(0.5 / math.sqrt(chi1 * chi2), 0.5 * math.sqrt(chi1 / chi2))


def flow(params: PyTree, twin: PyTree, exponent: Array) -> tuple[PyTree, PyTree]:
    r"""Lets parameters and twin flow into each other: :math:`\exp(\tau\,[[-1, 1], [1, -1]])`.

    Keeps their sum.

    Args:
      params: x.
      twin: like params.
      exponent: tau = eta times the elapsed time, scalar, at least 0.

    Returns:
      (x, twin) after that time.

    References:
      A2CiD2, arXiv 2306.08289.
    """
    share = -jnp.expm1(-2 * exponent) / 2
    moved = jax.tree.map(lambda x, other: share.astype(x.dtype) * (other - x), params, twin)
    plus = jax.tree.map(lambda x, each: x + each, params, moved)
    minus = jax.tree.map(lambda other, each: other - each, twin, moved)
    return plus, minus


def merge(
    params: PyTree, twin: PyTree, sent: PyTree, received: PyTree, alpha: float
) -> tuple[PyTree, PyTree]:
    r"""Averages with a peer, and moves the twin further.

    :math:`x \leftarrow x + d/2` and :math:`\tilde x \leftarrow \tilde x + \tilde\alpha d` with
    :math:`d = y - x^{sent}`. Both sides of an exchange move by opposite amounts, so the pair's sums stay.
    Differs from the paper, whose rule is on what x is at that moment: see `pairwise.merge`.

    References:
      A2CiD2, arXiv 2306.08289.
    """
    moved = jax.tree.map(lambda other, gave, y: other + alpha * (y - gave), twin, sent, received)
    return pairwise.merge(params, sent, received), moved
