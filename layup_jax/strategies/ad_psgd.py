"""AD-PSGD: asynchronous pairwise averaging of the whole model with a random neighbour."""

from __future__ import annotations

from layup_jax.strategies.layup import PairwiseLayUp


class ADPSGD(PairwiseLayUp):
    """LayUp's pairwise rule; what makes it AD-PSGD is the partition `model`, mostly on a sparse graph.

    The gradient is taken at the parameters that the forward pass read and applied to the newest ones,
    into which exchanges have been merged meanwhile; nobody waits.

    Differs from the paper: no bipartite graph is needed, because proposals are declined rather than
    waited for, and what is averaged is what was sent (see `mixing.pairwise`).

    References:
      arXiv 1710.06952, algorithm 1.
    """

    name = "ad_psgd"
