r"""Elastic averaging: workers train alone, tied by springs to a center that follows their mean.

after every H-th step:   x <- x - alpha (x - center)                      receive
                         center <- center + beta (mean of x - center)
"""

import jax
import jax.numpy as jnp

from layup_jax.strategies import OptaxStrategy
from layup_jax.types import AllReduce


class ElasticAveraging(OptaxStrategy):
    """EASGD with all workers in step, so that each can keep the center by itself.

    Differs from the paper: the spring pulls after the gradient step, not together with it.

    References:
      Zhang, Choromanska and LeCun 2015, arXiv 1412.6651, section 3.
    """

    name = "elastic_averaging"
    asks = AllReduce
    mixing = "elastic"

    def __init__(self, optimizer, period=4, alpha=0.3, beta=0.9):
        """Takes the optimizer, H, the pull on workers and how fast the center follows."""
        super().__init__(optimizer)
        self._period, self._alpha, self._beta = period, alpha, beta

    def init_mixing(self, params):
        """The center, the same on all workers."""
        return jax.tree.map(jnp.copy, params)

    def requests(self, event, draws):
        """The mean of the parameters, every H steps."""
        return (AllReduce(event.segment),) if (event.step + 1) % self._period == 0 else ()

    def receive(self, state, sent, payload, now):
        """Pulls the parameters to the center, and the center to the mean."""

        def moved(share, of, to):
            return jax.tree.map(lambda x, y: x + share * (y - x), of, to)

        params = moved(self._alpha, state.params, state.mixing)
        return state._replace(params=params, mixing=moved(self._beta, state.mixing, payload))
