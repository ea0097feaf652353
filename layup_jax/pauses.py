"""How long artificial pauses are: all alike, drawn at random, or one long one now and then.

pauses = Pauses(0.05, "exponential", draws=Draws(seed=0, rank=2))
pauses.seconds_of(step)        # a function of seed, rank and step
"""

from __future__ import annotations

import math
from typing import NamedTuple

from layup_jax.draws import Draws


class Pauses(NamedTuple):
    """Pauses of one kind of one worker, by number from 0.

    Attributes:
      seconds: of each, in the mean over `exponential` ones.
      pattern: constant | exponential | every; the last pauses at each `every`-th number only.
      every: at least 1.
      draws: of the worker.
      stream: sets the draws of one kind of pause apart from all others.
    """

    seconds: float = 0.0
    pattern: str = "constant"
    every: int = 1
    draws: Draws = Draws(0, 0)
    stream: int = 0

    def seconds_of(self, number: int) -> float:
        """Length of pause `number`; an exponential one by inversion, -seconds ln(1 - u)."""
        if not self.seconds:
            return 0.0
        if self.pattern == "exponential":
            return -self.seconds * math.log1p(-self.draws.uniform(self.stream, number))
        if self.pattern == "every" and (number + 1) % self.every:
            return 0.0
        return self.seconds
