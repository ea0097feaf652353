"""Averaging with a peer that keeps every update made while an exchange was under way.

sent = x                     # given to the peer
x = merge(x, sent, y)        # when the peer's y arrives: x + (y - sent) / 2
"""

from __future__ import annotations

import jax

from layup_jax.types import PyTree


def merge(params: PyTree, sent: PyTree, received: PyTree, share: float = 0.5) -> PyTree:
    r"""Moves towards a peer: :math:`x \leftarrow x + s (y - x^{sent})`, by default to the middle.

    Differs from the textbook :math:`(x + y)/2` (Boyd et al. 2006, "Randomized gossip algorithms"),
    which would halve an update that was applied between sending and receiving. Here both sides add
    opposite amounts, so the sum over the pair changes by exactly the updates applied meanwhile.

    Args:
      params: x, now.
      sent: x as it was given to the peer.
      received: y, what the peer gave.
      share: s, the peer's weight in the average.

    Returns:
      A pytree like params.

    References:
      LayUp, arXiv 2410.05985 v4; the rule on what was sent is our reconstruction.
    """
    return jax.tree.map(lambda x, gave, y: x + share * (y - gave), params, sent, received)
