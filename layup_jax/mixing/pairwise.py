"""Randomized pairwise averaging that keeps every update made while an exchange was under way.

sent = x                     # given to the peer
x = merge(x, sent, y)        # when the peer's y arrives: x + (y - sent) / 2
"""

from __future__ import annotations

import jax

from layup_jax.types import PyTree


def merge(params: PyTree, sent: PyTree, received: PyTree) -> PyTree:
    r"""Averages with a peer: :math:`x \leftarrow x + (y - x^{sent}) / 2`.

    Differs from the textbook :math:`(x + y)/2` (Boyd et al. 2006, "Randomized gossip algorithms"),
    which would halve an update that was applied between sending and receiving. Here both sides add
    opposite amounts, so the sum over the pair changes by exactly the updates applied meanwhile.

    Args:
      params: x, now.
      sent: x as it was given to the peer.
      received: y, what the peer gave.

    Returns:
      A pytree like params.

    References:
      LayUp, arXiv 2410.05985 v4; the rule on what was sent is our reconstruction.
    """
    return jax.tree.map(lambda x, gave, y: x + (y - gave) / 2, params, sent, received)
