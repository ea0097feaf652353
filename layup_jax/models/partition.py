"""How layers are grouped into segments: the granularity of updates and of messages.

partition_layers("layer", sizes=(100, 200, 50))      # ((0, 1), (1, 2), (2, 3))
partition_layers(2, sizes=(100, 200, 50))            # ((0, 2), (2, 3)): balanced by bytes
partition_layers("1kB", sizes=...)                   # fuses neighbours up to at least 1,000 bytes
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence

from layup_jax.errors import ConfigError

Partition = tuple[tuple[int, int], ...]

_UNITS = {"B": 1, "kB": 10**3, "MB": 10**6, "GB": 10**9}


def in_words(partition: Partition) -> str:
    """Such as "3 segments of 6 layers"."""
    count, layers = len(partition), partition[-1][1]
    return f"{count} segment{'s' * (count > 1)} of {layers} layer{'s' * (layers > 1)}"


def fused(costs: Sequence[float], minimum: float) -> Partition:
    """Fuses neighbours, from the first layer on, until each segment costs at least `minimum`.

    What is left over at the end joins the last segment.
    """
    bounds, start, total = [], 0, 0.0
    for index, cost in enumerate(costs):
        total += cost
        if total >= minimum:
            bounds.append((start, index + 1))
            start, total = index + 1, 0.0
    if start < len(costs):
        first = bounds.pop()[0] if bounds else start
        bounds.append((first, len(costs)))
    return tuple(bounds)


def balanced(sizes: Sequence[int], count: int) -> Partition:
    """Cuts into exactly `count` non-empty runs, each cut as near as possible to an equal share."""
    ends, total, layers = [0], sum(sizes) or 1, len(sizes)
    before = [sum(sizes[:index]) for index in range(layers + 1)]
    for part in range(1, count):
        low, high = ends[-1] + 1, layers - (count - part)
        share = total * part / count
        ends.append(min(range(low, high + 1), key=lambda end: abs(before[end] - share)))
    ends.append(layers)
    return tuple(itertools.pairwise(ends))


def partition_layers(spec: str | int, sizes: Sequence[int]) -> Partition:
    """Groups layers into segments.

    Args:
      spec: "layer", "model", a number of segments, or a size in bytes such as "64kB". ("auto" needs
        measurements: see `layup_jax.engine.measure`.)
      sizes: bytes of parameters of each layer.

    Returns:
      (start, stop) of each segment, in order, covering all layers.

    Raises:
      ConfigError: more segments than layers, or a spec that means nothing.
    """
    layers = len(sizes)
    if isinstance(spec, str) and spec.isdecimal():
        spec = int(spec)
    if isinstance(spec, int):
        if not 1 <= spec <= layers:
            raise ConfigError(
                f"config.partition must cut {layers} layers into 1 to {layers} segments, got {spec}; "
                "use 'layer' for one segment per layer"
            )
        return balanced(sizes, spec)
    if spec == "layer":
        return tuple((index, index + 1) for index in range(layers))
    if spec == "model":
        return ((0, layers),)
    size = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(B|kB|MB|GB)", spec)
    if size is None:
        raise ConfigError(
            "config.partition must be layer, model, auto, a number of segments or a size such as "
            f"'64kB', got '{spec}'; use one of these"
        )
    return fused(sizes, float(size[1]) * _UNITS[size[2]])
