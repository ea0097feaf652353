r"""How stale updates are in theory, to stand beside what is measured.

A backward pass takes beta times as long as a forward pass, which takes T for each of M layers:

    whole-model updates    beta T M            all layers are differentiated before any is updated
    layer-wise updates     beta T (M - 1) / 2  on average over layers, those before its own

and the bias b that stale gradients bring into the expected gradient is bounded by

    ||b|| <= G alpha eta tau_max / (1 - alpha eta tau_max)

References:
  arXiv 2410.05985 v1 to v3. What the symbols of the bound stand for is our reading: G the largest norm
  of a gradient, alpha the Lipschitz constant of the gradient, eta the learning rate, tau_max in updates.
"""

from __future__ import annotations

from collections.abc import Sequence


def whole_model_delay(beta: float, layer_seconds: float, layers: int) -> float:
    """Seconds from the start of a backward pass to the update.

    Args:
      beta: time of a backward pass over that of a forward pass.
      layer_seconds: T, of the forward pass of one layer.
      layers: M.
    """
    return beta * layer_seconds * layers


def layer_wise_delay(beta: float, layer_seconds: float, layers: int) -> float:
    """Seconds from the start of a backward pass to the start of a layer's own part, mean over layers.

    Args:
      beta: time of a backward pass over that of a forward pass.
      layer_seconds: T, of the forward pass of one layer.
      layers: M, at least 1; equally expensive.
    """
    return beta * layer_seconds * (layers - 1) / 2


def predicted_delay(forward_seconds: float, backward_seconds: float, segments: int) -> float:
    """The one of both that goes with so many segments, from the mean times of a pass."""
    beta, layer_seconds = backward_seconds / forward_seconds, forward_seconds / segments
    if segments == 1:
        return whole_model_delay(beta, layer_seconds, 1)
    return layer_wise_delay(beta, layer_seconds, segments)


def measured_delay(started_seconds: Sequence[float], updated_seconds: Sequence[float]) -> float:
    """What `predicted_delay` predicts, from the mean times of each segment in a backward pass.

    Args:
      started_seconds: for each segment, from the start of the pass to that of its own part.
      updated_seconds: the same, to the end of its update.
    """
    if len(started_seconds) == 1:
        return updated_seconds[0]
    return sum(started_seconds) / len(started_seconds)


def bias_bound(
    gradient_norm: float, lipschitz: float, learning_rate: float, staleness: float
) -> float | None:
    """The bound on ||b||; None where it bounds nothing, because alpha eta tau_max is not below 1.

    Args:
      gradient_norm: G.
      lipschitz: alpha.
      learning_rate: eta.
      staleness: tau_max, in updates.
    """
    product = lipschitz * learning_rate * staleness
    return gradient_norm * product / (1 - product) if product < 1 else None
