"""Operations of a training step: what the model itself needs, forward and backward, without the update.

    flops = step_flops(model, loss, batch)       # of the whole batch; None if it cannot be known
    flops / step_seconds / peak                  # model FLOPs utilisation

XLA's cost analysis counts them in the program before it is optimized, elementwise operations included
and transcendental functions not; what is not on the image (padding of a convolution) is not counted.
XLA counts the body of a loop once. Here the body of a `scan` counts as often as it runs; a loop whose
length is data cannot be counted.

The model is differentiated as a whole, whatever the run keeps or computes again (`remat`), on however
many devices: these are the model's operations, not the hardware's. A layer that calls jax.checkpoint
itself is counted with what it computes again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
from jax.extend.core import ClosedJaxpr, jaxpr_as_fun

from layup_jax.models.layers import LayeredModel
from layup_jax.types import Array, PyTree

_LOOPS = ("scan", "while")


def step_flops(
    model: LayeredModel, loss: Callable[[PyTree, PyTree], Array], batch: PyTree
) -> float | None:
    """Floating-point operations of one forward and one backward pass.

    Args:
      model: what is trained; its parameters are not looked at.
      loss: (outputs of the last layer, batch) -> scalar.
      batch: a record with `inputs`, or of jax.ShapeDtypeStruct; nothing is computed.

    Returns:
      Of the whole batch; None where there is a loop of unknown length, or where JAX has no CPU platform
      beside the accelerator's, whose compiler does not count (JAX_PLATFORMS=cuda in place of cuda,cpu).
    """
    segment = model.segment(0, len(model))

    def passes(params: PyTree, model_state: PyTree, batch: PyTree):
        key = jax.random.key(0) if segment.is_random else None

        def run(params: PyTree) -> Array:
            outputs, _ = segment.apply(params, model_state, batch.inputs, key, training=True)
            return loss(outputs, batch)

        return jax.value_and_grad(run)(params)

    shapes = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), batch)
    try:
        cpu = jax.local_devices(backend="cpu")[0]
    except RuntimeError:
        return None
    with jax.default_device(cpu):
        return _flops(jax.make_jaxpr(passes)(*jax.eval_shape(segment.init), shapes))


def _flops(program: ClosedJaxpr) -> float | None:
    """XLA's count, and that of the bodies of loops for all but the first time round."""
    total = _counted(program)
    for loop in _loops(program.jaxpr):
        if loop.primitive.name != "scan" or total is None:
            return None
        body = loop.params["jaxpr"]
        all_of_it = _flops(body)
        if all_of_it is None:
            return None
        total += loop.params["length"] * all_of_it - (_counted(body) or 0.0)
    return total


def _counted(program: ClosedJaxpr) -> float | None:
    """What XLA says of one program."""
    lowered = jax.jit(jaxpr_as_fun(program)).lower(*program.in_avals)
    analysis = lowered.cost_analysis()
    return None if analysis is None else float(analysis["flops"])


def _loops(jaxpr: Any) -> Iterator[Any]:
    """All loops that are not in another loop."""
    for equation in jaxpr.eqns:
        if equation.primitive.name in _LOOPS:
            yield equation
            continue
        for value in equation.params.values():
            for inner in value if isinstance(value, Sequence) else (value,):
                if hasattr(inner, "eqns") or isinstance(inner, ClosedJaxpr):
                    yield from _loops(getattr(inner, "jaxpr", inner))
