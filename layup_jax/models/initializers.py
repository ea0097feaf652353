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
      fan: inputs | outputs, of which the number is counted, times the receptive field; none for 1.
    """

    scale: float
    fan: Literal["inputs", "outputs", "none"] = "inputs"

    def __call__(self, key: Array, shape: Sequence[int], dtype: Any = jnp.float32) -> Array:
        """Draws a kernel.

        Args:
          key: random key, consumed here. While tracing, the draw becomes part of the trace instead.
          shape: (..., inputs, outputs).
          dtype: of the result.
        """
        deviation = math.sqrt(self.scale / self._fan(shape))
        if isinstance(key, Tracer):
            return deviation * jax.random.normal(key, shape, dtype)
        return jnp.asarray(deviation * _normal(key, shape), dtype)

    def _fan(self, shape: Sequence[int]) -> int:
        if self.fan == "none":
            return 1
        return math.prod(shape[:-2]) * shape[-2 if self.fan == "inputs" else -1]


@dataclasses.dataclass(frozen=True)
class Orthogonal:
    """Orthonormal rows, or columns where these are fewer (Saxe et al., arXiv 1312.6120)."""

    def __call__(self, key: Array, shape: tuple[int, int], dtype: Any = jnp.float32) -> Array:
        """Draws a matrix.

        Args:
          key: random key, consumed here. While tracing, the draw becomes part of the trace instead.
          shape: (inputs, outputs).
          dtype: of the result.
        """
        if isinstance(key, Tracer):
            return jax.random.orthogonal(key, max(shape), dtype=dtype)[: shape[0], : shape[1]]
        columns, triangle = np.linalg.qr(_normal(key, (max(shape), min(shape))))
        columns = columns * np.sign(np.diag(triangle))  # else not uniform over all of them
        return jnp.asarray(columns if shape[0] > shape[1] else columns.T, dtype)


def _normal(key: Array, shape: Sequence[int]) -> np.ndarray:
    words = np.asarray(jax.random.key_data(key)).tolist()
    draws = np.random.Generator(np.random.Philox(np.random.SeedSequence(words)))
    return draws.standard_normal(shape)


HE_NORMAL = ScaledNormal(2.0)
HE_NORMAL_OUTPUTS = ScaledNormal(2.0, "outputs")
LECUN_NORMAL = ScaledNormal(1.0)
LECUN_NORMAL_OUTPUTS = ScaledNormal(1.0, "outputs")
SMALL_NORMAL = ScaledNormal(0.02**2, "none")
ORTHOGONAL = Orthogonal()
