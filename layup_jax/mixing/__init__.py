"""Mixing rules: how one segment of one worker becomes closer to a peer's. Pure."""

from layup_jax.mixing import pairwise, push_sum

__all__ = ["pairwise", "push_sum"]
