"""The compiled functions of one kind of segment: forward, backward, and both in one at the end.

    model_state, passed = program.forward(state, inputs, None, draw)
    state, cotangent = program.backward(state, passed, cotangent, now)
    state, loss, cotangent = program.turn(state, inputs, batch, draw, now)     # last segment only

The backward call fuses the vector-Jacobian product, the optax update and the strategy's rule. What it
differentiates is the forward pass that was run (`stored` weights); what it updates is the live state.
Where several threads update one state it comes in two calls, and the slot is locked for the second:

    gradient, cotangent = program.gradient(passed, cotangent)                  # stored weights
    gradient, cotangent = program.gradient_at(state, passed, cotangent, draw)  # live weights
    state = program.apply(state, gradient, now)

and `backward_at` is `backward` with live weights.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np

from layup_jax.engine.numerics import PLAIN, Numerics, like
from layup_jax.engine.recompute import without_rounding
from layup_jax.engine.residuals import Residuals, capture, restore
from layup_jax.models.layers import Segment
from layup_jax.tree import split_inexact
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
      params: the parameters that were used; None after `advance`.
      inputs: (inputs, batch) as they were given.
      outputs: what went on to the next segment; the loss for the last one.
      residuals: what the VJP closure needs beside those; None after `advance`.
    """

    params: PyTree
    inputs: PyTree
    outputs: PyTree
    residuals: Residuals | None


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
        numerics: Numerics = PLAIN,
    ):
        """Builds the functions; nothing is compiled yet.

        Args:
          segment: the layers.
          rule: the strategy.
          loss: for the last segment, loss(outputs, batch) -> scalar; None elsewhere.
          first: True leaves out the gradient with respect to the model's inputs.
          donate: True lets `turn` overwrite the parameters in place: only where no other thread
            reads them. The optimizer state is always donated.
          numerics: precision, what the forward pass keeps, and on which devices.
        """
        self._numerics = numerics
        self._segment = segment
        self._rule = rule
        self._loss = loss
        self._first = first
        self._mesh, jit = numerics.mesh, numerics.mesh.jit
        self._compiled_forward = jit(self._forward)
        self._compiled_backward = jit(self._backward, donate_argnums=1)
        self._compiled_turn = jit(self._turn, donate_argnums=(0, 1) if donate else 1)
        self._compiled_advance = jit(self._advance)
        self._compiled_gradient = jit(self._gradient)
        self._compiled_gradient_at = jit(self._gradient_at)
        self._compiled_cotangent = jit(self._cotangent)
        self._compiled_apply = jit(self._apply, donate_argnums=1)
        self._compiled_backward_at = jit(self._backward_at, donate_argnums=1)

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

    def advance(
        self, state: SegmentState, inputs: PyTree, batch: PyTree, draw: Draw
    ) -> tuple[PyTree, Passed]:
        """`forward` that keeps nothing but inputs and outputs: enough for `gradient_at`."""
        outputs, model_state = self._compiled_advance(
            state.params, state.model_state, inputs, batch, self._draw(draw)
        )
        return model_state, Passed(None, (inputs, batch), outputs, None)

    def backward_at(
        self,
        state: SegmentState,
        passed: Passed,
        cotangent: list[Array] | None,
        draw: Draw,
        now: float,
    ) -> tuple[SegmentState, list[Array]]:
        """`backward` whose VJP is taken at the parameters of `state`, as `gradient_at` does."""
        bare = state._replace(opt_state=None)
        after, previous = self._compiled_backward_at(
            bare, state.opt_state, passed.inputs, cotangent, self._draw(draw), now
        )
        return after._replace(model_state=state.model_state), previous

    def gradient(self, passed: Passed, cotangent: list[Array] | None) -> tuple[PyTree, list[Array]]:
        """One VJP at the parameters of the forward pass, without an update.

        Returns:
          (gradient, a pytree like the parameters; cotangent for the previous segment).
        """
        return self._compiled_gradient(passed, cotangent)

    def gradient_at(
        self, state: SegmentState, passed: Passed, cotangent: list[Array] | None, draw: Draw
    ) -> tuple[PyTree, list[Array]]:
        """One VJP at the parameters of `state`, re-linearised at the inputs of the forward pass.

        Args:
          state: read, not changed.
          passed: what `forward` or `advance` left.
          cotangent: as in `backward`.
          draw: that of the forward pass, so that random masks are the same.
        """
        return self._compiled_gradient_at(
            state.params, state.model_state, passed.inputs, cotangent, self._draw(draw)
        )

    def cotangent(self, passed: Passed, cotangent: list[Array] | None) -> list[Array]:
        """The cotangent for the previous segment alone: what `gradient` costs without the gradient."""
        return self._compiled_cotangent(passed, cotangent)

    def apply(self, state: SegmentState, grads: PyTree, now: float) -> SegmentState:
        """The state after one gradient; its opt_state is consumed."""
        bare = state._replace(opt_state=None, model_state=())
        after = self._compiled_apply(bare, state.opt_state, grads, now)
        return after._replace(model_state=state.model_state)

    def _draw(self, draw: Draw) -> np.ndarray | None:
        return draw.as_array() if self._segment.is_random else None

    def _pullback(self, params, model_state, inputs, batch, draw, *, stored):
        values, rebuild = split_inexact(inputs)
        key = None if draw is None else _key(draw)

        def run(params, values):
            given = self._numerics.cast((params, rebuild(values)))
            outputs, after = self._segment.apply(
                given[0], model_state, given[1], key, training=True
            )
            after = self._mesh.pinned(like(after, model_state))
            if self._loss is None:
                outputs = self._numerics.cast(outputs)
            else:
                outputs = self._loss(self._numerics.uncast(outputs), batch)
            lent = self._segment.lent(params)  # whose cotangents come after those of the outputs
            return split_inexact((outputs, lent))[0], (outputs, after)

        if stored:
            run = self._numerics.kept(run)
        if self._first:
            _, pullback, aux = jax.vjp(lambda params: run(params, values), params, has_aux=True)
        else:
            _, pullback, aux = jax.vjp(run, params, values, has_aux=True)
        return *aux, pullback

    def _forward(self, params, model_state, inputs, batch, draw):
        linearised = without_rounding(partial(self._pullback, stored=True))
        outputs, after, pullback = linearised(params, model_state, inputs, batch, draw)
        known = {"params": params, "inputs": (inputs, batch), "outputs": outputs}
        return outputs, after, capture(pullback, **known)

    def _backward(self, bare, opt_state, passed, cotangent, now):
        grads, previous = self._gradient(passed, cotangent)
        return self._apply(bare, opt_state, grads, now), previous

    def _turn(self, bare, opt_state, inputs, batch, draw, now):
        loss, after, pullback = self._pullback(
            bare.params, bare.model_state, inputs, batch, draw, stored=False
        )
        grads, previous = self._pulled(pullback, None, loss)
        state = self._apply(bare._replace(model_state=after), opt_state, grads, now)
        return state, loss, previous

    def _advance(self, params, model_state, inputs, batch, draw):
        outputs, after, _ = self._pullback(params, model_state, inputs, batch, draw, stored=False)
        return outputs, after

    def _gradient(self, passed, cotangent):
        pullback = restore(
            passed.residuals, params=passed.params, inputs=passed.inputs, outputs=passed.outputs
        )
        return self._pulled(pullback, cotangent, passed.outputs)

    def _gradient_at(self, params, model_state, inputs, cotangent, draw):
        values, batch = inputs
        outputs, _, pullback = self._pullback(
            params, model_state, values, batch, draw, stored=False
        )
        return self._pulled(pullback, cotangent, outputs)

    def _backward_at(self, bare, opt_state, inputs, cotangent, draw, now):
        grads, previous = self._gradient_at(bare.params, bare.model_state, inputs, cotangent, draw)
        return self._apply(bare._replace(model_state=()), opt_state, grads, now), previous

    def _cotangent(self, passed, cotangent):
        return self._gradient(passed, cotangent)[1]

    def _apply(self, bare, opt_state, grads, now):
        state = bare._replace(opt_state=opt_state)
        return self._mesh.pinned(self._rule.apply_gradient(state, grads, now))

    def _pulled(self, pullback, cotangent, outputs) -> tuple[PyTree, list[Array]]:
        """(gradient, cotangent of the inputs); the last segment starts from ones like its loss."""
        grads, *inputs = pullback([jnp.ones_like(outputs)] if cotangent is None else cotangent)
        return self._mesh.pinned(grads), inputs[0] if inputs else []
