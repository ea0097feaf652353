"""GoSGD: push-sum gossip of the whole model after a step, with a probability."""

from __future__ import annotations

from layup_jax.strategies.layup import PushSumLayUp


class GoSGD(PushSumLayUp):
    """LayUp's push-sum rule; what makes it GoSGD is the partition `model` and the probability.

    Cut into more segments it is a layer-wise GoSGD, which the paper does not have.

    References:
      arXiv 1611.09726, algorithms 3 and 4.
    """

    name = "gosgd"
