"""The compiled functions of one kind of segment: forward, backward, and both in one at the end.

    model_state, passed = program.forward(state, inputs, None, draw)
    state, cotangent = program.backward(state, passed, cotangent, now)
    state, loss, cotangent = program.turn(state, inputs, batch, draw, now)     # last segment only

The backward call fuses the vector-Jacobian product, the optax update and the strategy's rule. What it
differentiates is the forward pass that was run (`stored` weights); what it updates is the live state.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np

from layup_jax.engine.recompute import without_cheap_residuals
from layup_jax.engine.residuals import Residuals, capture, restore
from layup_jax.models.layers import Segment
from layup_jax.types import Array, PyTree, SegmentState

LossFunction = Callable[[PyTree, PyTree], Array]


class UpdateRule(Protocol):
    """The part of a strategy that the engine compiles into a backward call."""

    def apply_gradient(self, state: SegmentState, grads: PyTree, now: Array) -> SegmentState:
        """Returns the state after one gradient; pure."""
        ...


class Passed(NamedTuple):
    """What one forward pass through one segment leaves: references, and the residuals proper.

    Attributes:
      params: the parameters that were used.
      inputs: (inputs, batch) as they were given.
      outputs: what went on to the next segment; the loss for the last one.
      residuals: what the VJP closure needs beside those.
    """

    params: PyTree
    inputs: PyTree
    outputs: PyTree
    residuals: Residuals


class Draw(NamedTuple):
    """Names the random numbers of one step on one segment: integers, turned into a key inside jit."""

    seed: int
    rank: int
    step: int
    segment: int

    def as_array(self) -> np.ndarray:
        """The four integers as one (4,) uint32 array, the argument of a compiled function."""
        return np.array([value & 0xFFFFFFFF for value in self], np.uint32)


def _key(draw: Array) -> Array:
    key = jax.random.key(draw[0])
    for value in draw[1:]:
        key = jax.random.fold_in(key, value)
    return key


def _differentiable(tree: PyTree) -> tuple[list[Array], Callable[[list[Array]], PyTree]]:
    """Splits off the inexact leaves of a pytree; integers and booleans carry no gradient."""
    leaves, structure = jax.tree.flatten(tree)
    chosen = [jnp.issubdtype(leaf.dtype, jnp.inexact) for leaf in leaves]

    def rebuild(values: list[Array]) -> PyTree:
        rest = iter(values)
        merged = [next(rest) if keep else leaf for leaf, keep in zip(leaves, chosen, strict=True)]
        return jax.tree.unflatten(structure, merged)

    return [leaf for leaf, keep in zip(leaves, chosen, strict=True) if keep], rebuild


class SegmentProgram:
    """Forward, backward and turn of one kind of segment, compiled at first use and then shared.

    Threads: any; the functions are pure and their compiled forms thread-safe.
    """

    def __init__(
        self,
        segment: Segment,
        rule: UpdateRule,
        *,
        loss: LossFunction | None,
        first: bool,
        donate: bool,
    ):
        """Builds the functions; nothing is compiled yet.

        Args:
          segment: the layers.
          rule: the strategy.
          loss: for the last segment, loss(outputs, batch) -> scalar; None elsewhere.
          first: True leaves out the gradient with respect to the model's inputs.
          donate: True lets `turn` overwrite the parameters in place: only where no other thread
            reads them. The optimizer state is always donated.
        """
        self._segment = segment
        self._rule = rule
        self._loss = loss
        self._first = first
        self._compiled_forward = jax.jit(self._forward)
        self._compiled_backward = jax.jit(self._backward, donate_argnums=1)
        self._compiled_turn = jax.jit(self._turn, donate_argnums=(0, 1) if donate else 1)

    def forward(
        self, state: SegmentState, inputs: PyTree, batch: PyTree, draw: Draw
    ) -> tuple[PyTree, Passed]:
        """Runs the segment and keeps what its backward pass needs.

        Args:
          state: read, not changed.
          inputs: what the previous segment returned.
          batch: the whole batch for the last segment, whose output is the loss; else None.
          draw: names the random numbers.

        Returns:
          (model state after the step, Passed).
        """
        outputs, model_state, residuals = self._compiled_forward(
            state.params, state.model_state, inputs, batch, self._draw(draw)
        )
        return model_state, Passed(state.params, (inputs, batch), outputs, residuals)

    def backward(
        self, state: SegmentState, passed: Passed, cotangent: list[Array] | None, now: float
    ) -> tuple[SegmentState, list[Array]]:
        """One VJP, one update. The gradient is that of the parameters in `passed`.

        Args:
          state: the live state, to which the update is applied; its opt_state is consumed.
          passed: what `forward` left.
          cotangent: what the next segment's backward returned; None for the last segment.
          now: time in seconds, for strategies whose rule depends on it.

        Returns:
          (state after the update, cotangent for the previous segment: a list with one array for
          every inexact leaf of the inputs, empty for the first segment).
        """
        bare = state._replace(opt_state=None, model_state=())
        after, previous = self._compiled_backward(bare, state.opt_state, passed, cotangent, now)
        return after._replace(model_state=state.model_state), previous

    def turn(
        self, state: SegmentState, inputs: PyTree, batch: PyTree, draw: Draw, now: float
    ) -> tuple[SegmentState, Array, list[Array]]:
        """Forward and backward of the last segment in one call, with nothing stored in between.

        Returns:
          (state after the update, loss, cotangent for the previous segment).
        """
        bare = state._replace(opt_state=None)
        return self._compiled_turn(bare, state.opt_state, inputs, batch, self._draw(draw), now)

    def _draw(self, draw: Draw) -> np.ndarray | None:
        return draw.as_array() if self._segment.is_random else None

    def _pullback(self, params, model_state, inputs, batch, draw, *, stored):
        values, rebuild = _differentiable(inputs)
        key = None if draw is None else _key(draw)

        def run(params, values):
            outputs, after = self._segment.apply(
                params, model_state, rebuild(values), key, training=True
            )
            if self._loss is not None:
                outputs = self._loss(outputs, batch)
            return _differentiable(outputs)[0], (outputs, after)

        if stored:
            run = without_cheap_residuals(run)
        if self._first:
            _, pullback, aux = jax.vjp(lambda params: run(params, values), params, has_aux=True)
        else:
            _, pullback, aux = jax.vjp(run, params, values, has_aux=True)
        return *aux, pullback

    def _forward(self, params, model_state, inputs, batch, draw):
        outputs, after, pullback = self._pullback(
            params, model_state, inputs, batch, draw, stored=True
        )
        known = {"params": params, "inputs": (inputs, batch), "outputs": outputs}
        return outputs, after, capture(pullback, **known)

    def _backward(self, bare, opt_state, passed, cotangent, now):
        pullback = restore(
            passed.residuals, params=passed.params, inputs=passed.inputs, outputs=passed.outputs
        )
        if cotangent is None:
            cotangent = [jnp.ones_like(passed.outputs)]
        return self._updated(bare._replace(opt_state=opt_state), pullback, cotangent, now)

    def _turn(self, bare, opt_state, inputs, batch, draw, now):
        loss, after, pullback = self._pullback(
            bare.params, bare.model_state, inputs, batch, draw, stored=False
        )
        state = bare._replace(opt_state=opt_state, model_state=after)
        state, cotangent = self._updated(state, pullback, [jnp.ones_like(loss)], now)
        return state, loss, cotangent

    def _updated(self, state, pullback, cotangent, now):
        grads, *inputs = pullback(cotangent)
        return self._rule.apply_gradient(state, grads, now), inputs[0] if inputs else []
