"""A schedule by what is configured: the only place that knows which ones there are.

pipeline = make_pipeline(Schedule("decoupled", ratio=Ratio(1, 2, 1)), parts)
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from layup_jax.errors import ConfigError
from layup_jax.pipeline.base import Parts, Pipeline
from layup_jax.pipeline.decoupled import Decoupled, DecoupledOptions
from layup_jax.pipeline.devices import Placement
from layup_jax.pipeline.interleaved import Interleaved
from layup_jax.pipeline.ratio import Measured, Ratio
from layup_jax.pipeline.shared import Shared, SharedOptions
from layup_jax.pipeline.tuner import Tuner


class Schedule(NamedTuple):
    """What is configured.

    Attributes:
      name: interleaved | decoupled | shared.
      ratio: threads and queue of `decoupled`; None measures, as ratio="auto" does.
      queue: places, in place of those that were measured to be best; None leaves them.
      weights: stored | live; of `decoupled`.
      forward_devices: indices of local devices for forward threads of `decoupled`, in turn.
      backward_devices: likewise for backward threads.
      shared: of `shared`.
    """

    name: str
    ratio: Ratio | None = None
    queue: int | None = None
    weights: str = "stored"
    forward_devices: tuple[int, ...] = ()
    backward_devices: tuple[int, ...] = ()
    shared: SharedOptions = SharedOptions(1)

    @property
    def devices(self) -> list[int]:
        """Indices of the local devices on which passes run."""
        return sorted({*(self.forward_devices or (0,)), *(self.backward_devices or (0,))})

    @property
    def is_partial(self) -> bool:
        """Whether some steps differentiate a part of the model only."""
        return self.name == "shared" and self.shared.partial_from is not None

    def check_segments(self, segments: int) -> None:
        """Refuses more parts of a model than it has segments.

        Raises:
          ConfigError: so it is.
        """
        if self.is_partial and self.shared.threads > segments:
            raise ConfigError(
                f"lpp_sgd needs a segment for each of its threads, got {self.shared.threads} threads "
                f"and {segments} segment{'s' * (segments > 1)}; lower config.threads.shared or set "
                "config.partition to layer"
            )


def make_pipeline(
    schedule: Schedule,
    parts: Parts,
    measure: Callable[[], Measured],
    cores: int,
    on_change: Callable[[str], None] = lambda reason: None,
) -> Pipeline:
    """Builds the pipeline; nothing runs yet, but what has to be measured.

    Args:
      schedule: which one.
      parts: that it works on.
      measure: called if the ratio is to be measured.
      cores: that this worker's threads share.
      on_change: told why, whenever the ratio is chosen or changed.

    Raises:
      ConfigError: a device that is not there.
    """
    if schedule.name == "shared":
        return Shared(parts, schedule.shared)
    if schedule.name == "interleaved":
        return Interleaved(parts)
    tuner, ratio = None, schedule.ratio
    if ratio is None:
        tuner = Tuner(measure(), cores, schedule.queue)
        ratio = tuner.first.ratio
        on_change(f"decoupled {tuner.first.reason}")
    placement = Placement(schedule.forward_devices, schedule.backward_devices)
    options = DecoupledOptions(ratio, tuner, schedule.weights, placement)
    return Decoupled(parts, options, on_change)
