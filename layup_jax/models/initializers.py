"""Initializers of the shipped models, drawn on the host: XLA takes a second to compile each shape's draw.

    nnx.Linear(64, 10, kernel_init=LECUN_NORMAL, rngs=rngs)

They compare equal by value, so layers that were given equal ones have equal graph definitions.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from layup_jax.types import Array


@dataclasses.dataclass(frozen=True)
class ScaledNormal:
    """Normal numbers with variance scale / fan, for kernels of shape (..., inputs, outputs).

    Attributes:
      scale: 2 before a ReLU (He et al., arXiv 1502.01852), 1 otherwise.
      fan: inputs | outputs, of which the number is counted, times the receptive field.
    """

    scale: float
    fan: Literal["inputs", "outputs"] = "inputs"

    def __call__(self, key: Array, shape: Sequence[int], dtype: Any = jnp.float32) -> Array:
        """Draws a kernel.

        Args:
          key: random key, consumed here. While tracing, the draw becomes part of the trace instead.
          shape: (..., inputs, outputs).
          dtype: of the result.
        """
        receptive = math.prod(shape[:-2])
        fan = receptive * shape[-2 if self.fan == "inputs" else -1]
        deviation = math.sqrt(self.scale / fan)
        if isinstance(key, Tracer):
            return deviation * jax.random.normal(key, shape, dtype)
        words = np.asarray(jax.random.key_data(key)).tolist()
        draws = np.random.Generator(np.random.Philox(np.random.SeedSequence(words)))
        return jnp.asarray(deviation * draws.standard_normal(shape), dtype)


HE_NORMAL = ScaledNormal(2.0)
HE_NORMAL_OUTPUTS = ScaledNormal(2.0, "outputs")
LECUN_NORMAL = ScaledNormal(1.0)
