"""Random numbers named by what they are for: the same names give the same number, in any order.

draws = Draws(seed=0, rank=2)
draws.uniform(PEER, step, segment)        # in [0, 1); PEER is an integer of the caller's own
"""

from __future__ import annotations

from typing import NamedTuple

_MASK = (1 << 64) - 1


def _mixed(state: int) -> int:
    """The finaliser of SplitMix64: a bijection of 64-bit integers with full avalanche."""
    state = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    state = ((state ^ (state >> 27)) * 0x94D049BB133111EB) & _MASK
    return state ^ (state >> 31)


class Draws(NamedTuple):
    """One worker's random numbers, without state: each is a function of its name."""

    seed: int
    rank: int

    def uniform(self, *words: int) -> float:
        """A number in [0, 1), a function of seed, rank and `words` (non-negative integers)."""
        state = 0
        for word in (self.seed, self.rank, *words):
            state = _mixed((state + word + 0x9E3779B97F4A7C15) & _MASK)
        return (state >> 11) / (1 << 53)
