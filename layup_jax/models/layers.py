"""A model as an ordered sequence of layers, and a run of layers as one pure function.

Nouns: `LayeredModel` (the user's flax.nnx modules in order), `Segment` (consecutive layers as a
pure function of parameters, model state, inputs and a random key).

    model = LayeredModel([nnx.Linear(64, 32, rngs=rngs), nnx.relu, nnx.Linear(32, 10, rngs=rngs)])
    segment = model.segment(0, 3)
    params, model_state = segment.init()
    outputs, model_state = segment.apply(params, model_state, inputs, key, training=True)

Where layers share an array (see `ties`), the layer in which it comes first has it among its parameters.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx

from layup_jax.errors import ModelError
from layup_jax.models.ties import Place, Tie, filled, read_ties, without
from layup_jax.types import Array, PyTree


class Function(nnx.Module):
    """A layer without parameters: any function of the activations."""

    def __init__(self, function: Callable[[PyTree], PyTree]):
        """Wraps `function`, which is part of the layer's identity (equal functions compile once)."""
        self.function = function

    def __call__(self, inputs: PyTree) -> PyTree:
        """Applies the function."""
        return self.function(inputs)


class LayerParts(NamedTuple):
    """One layer taken apart by flax.nnx."""

    graphdef: nnx.GraphDef
    params: nnx.State
    rngs: nnx.State
    rest: nnx.State


def split_layer(layer: nnx.Module) -> LayerParts:
    """Takes a layer apart into its structure, parameters, random streams and everything else."""
    layer.train()
    return LayerParts(*nnx.split(layer, nnx.Param, nnx.RngState, ...))


def _filled(template: nnx.State, values: PyTree) -> nnx.State:
    state = jax.tree.map(lambda leaf: leaf, template)
    nnx.replace_by_pure_dict(state, values)
    return state


def _reseeded(layer: nnx.Module, rngs: nnx.State, key: Array) -> None:
    streams = sorted({leaf.tag for _, leaf in nnx.to_flat_state(rngs)})
    keys = jax.random.split(key, len(streams))
    nnx.reseed(layer, **dict(zip(streams, keys, strict=True)))


class Segment:
    """Consecutive layers as one pure function.

    Two segments are equal when their layers have the same structure; equal segments share one
    compilation. Shapes of parameters are not part of the identity: jit tells those apart itself.

    Attributes:
      names: of the layers.
      lends: arrays of its own that later segments borrow.
      borrows: arrays of earlier segments that it uses.
      num_parametric: how many of the layers have parameters, borrowed ones included.
    """

    def __init__(
        self,
        names: Sequence[str],
        parts: Sequence[LayerParts],
        start: int,
        ties: Sequence[Tie] = (),
    ):
        """Takes a run of layers.

        Args:
          names: of the layers, for messages.
          parts: of the layers, in order.
          start: index of the first one in the model.
          ties: of the model.
        """
        self.names = tuple(names)
        self._parts = tuple(parts)
        inside = range(start, start + len(self._parts))
        mine = [tie for tie in ties if tie.borrower.layer in inside]
        self.borrows = tuple(tie for tie in mine if tie.owner.layer not in inside)
        self.lends = tuple(
            dict.fromkeys(
                tie.owner
                for tie in ties
                if tie.owner.layer in inside and tie.borrower.layer not in inside
            )
        )
        self._lends = tuple(place.within(start) for place in self.lends)
        self._borrows = tuple(tie.borrower.within(start) for tie in self.borrows)
        self._inner = tuple(
            Tie(tie.owner.within(start), tie.borrower.within(start))
            for tie in mine
            if tie.owner.layer in inside
        )
        graphdefs = tuple(part.graphdef for part in self._parts)
        self._identity = (graphdefs, self._lends, self._borrows, self._inner)
        self._hash = hash(self._identity)
        self.num_parametric = sum(bool(jax.tree.leaves(part.params)) for part in self._parts)
        self._is_random = any(jax.tree.leaves(part.rngs) for part in self._parts)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Segment) and self._identity == other._identity

    def __hash__(self) -> int:
        return self._hash

    @property
    def name(self) -> str:
        """Name of the first layer, or of the first and the last."""
        return self.names[0] if len(self.names) == 1 else f"{self.names[0]}..{self.names[-1]}"

    @property
    def is_random(self) -> bool:
        """Whether any layer draws random numbers (dropout)."""
        return self._is_random

    def init(self) -> tuple[PyTree, PyTree]:
        """Returns copies of the layers' own initial values, for the caller to donate as it likes.

        Returns:
          (params, model_state), each a tuple with one nested dict for every layer.
        """
        params = [nnx.to_pure_dict(part.params) for part in self._parts]
        for place in (*self._borrows, *(tie.borrower for tie in self._inner)):
            params[place.layer] = without(params[place.layer], place.path)
        model_state = tuple(nnx.to_pure_dict(part.rest) for part in self._parts)
        return jax.tree.map(jnp.copy, (tuple(params), model_state))

    def lent(self, params: PyTree) -> tuple[Array, ...]:
        """The arrays of `lends`, out of this segment's parameters."""
        return tuple(place.get(params) for place in self._lends)

    def apply(
        self,
        params: PyTree,
        model_state: PyTree,
        inputs: PyTree,
        key: Array | None = None,
        *,
        training: bool,
    ) -> tuple[PyTree, PyTree]:
        """Runs the layers in order.

        Args:
          params: as `init` returns them.
          model_state: as `init` returns it.
          inputs: what the first layer takes; any pytree. A segment that `borrows` takes a pair: that, and
            a tuple of the borrowed arrays.
          key: random key, consumed here; needed when `is_random` and training.
          training: False runs every layer in its evaluation mode (running statistics, no dropout).

        Returns:
          (outputs, model_state): any pytree, and the model state after this step.
        """
        params, inputs = self._complete(params, inputs)
        after = []
        for index, part in enumerate(self._parts):
            layer = nnx.merge(
                part.graphdef,
                _filled(part.params, params[index]),
                part.rngs,
                _filled(part.rest, model_state[index]),
                copy=True,
            )
            if not training:
                layer.eval()
            elif jax.tree.leaves(part.rngs):
                assert key is not None, f"layer {self.names[index]} needs a random key"
                _reseeded(layer, part.rngs, jax.random.fold_in(key, index))
            inputs = layer(inputs)
            after.append(
                nnx.to_pure_dict(nnx.state(layer, nnx.Not(nnx.Any(nnx.Param, nnx.RngState))))
            )
        return inputs, tuple(after)

    def _complete(self, params: PyTree, inputs: PyTree) -> tuple[PyTree, PyTree]:
        """Parameters with all that is tied, and the inputs of the first layer."""
        arrays: dict[Place, Array] = {tie.borrower: tie.owner.get(params) for tie in self._inner}
        if self._borrows:
            inputs, borrowed = inputs
            arrays |= zip(self._borrows, borrowed, strict=True)
        return filled(params, arrays), inputs


class LayeredModel:
    """A sequence of layers, each an nnx module or a plain function of the activations.

    Attributes:
      layers: in forward order.
      names: of the layers.
      ties: arrays that two layers share.
    """

    def __init__(
        self,
        layers: Sequence[nnx.Module | Callable[[PyTree], PyTree]],
        tied: Mapping[str, str] | None = None,
    ):
        """Takes the layers in forward order.

        Args:
          layers: nnx modules, or functions.
          tied: parameters that are one array with a parameter of an earlier layer, as `read_ties` takes
            them: {"-1.embedding": "0.tokens.embedding"}. The first is dropped, the second counts.

        Raises:
          ModelError: no sequence or an empty one, a layer that is neither an nnx module nor callable, two
            that share parameters without being tied, which would each go their own way, or ties that
            cannot be.
        """
        if not isinstance(layers, Sequence):
            raise ModelError(
                f"a model's layers must be a list of nnx modules, got {type(layers).__name__}; pass "
                "its parts in a list"
            )
        if not layers:
            raise ModelError("a model needs at least 1 layer, got 0; pass a list of nnx modules")
        self.layers = tuple(self._as_layer(index, layer) for index, layer in enumerate(layers))
        self.names = tuple(f"{index:02d}-{_kind(layer)}" for index, layer in enumerate(self.layers))
        self._require_separate()
        self._parts = tuple(split_layer(layer) for layer in self.layers)
        params = [nnx.to_pure_dict(part.params) for part in self._parts]
        self.ties = read_ties(tied or {}, params)

    def __len__(self) -> int:
        return len(self.layers)

    def segment(self, start: int, stop: int) -> Segment:
        """The layers start, ..., stop - 1 as one segment."""
        return Segment(self.names[start:stop], self._parts[start:stop], start, self.ties)

    def predict(self, trained: tuple[Sequence[PyTree], Sequence[PyTree]], inputs: PyTree) -> PyTree:
        """Runs a trained model: running statistics, no dropout.

        Args:
          trained: (params, model states) by segment, whatever the partition was: `run.model`.
          inputs: what the first layer takes.

        Returns:
          Outputs of the last layer.
        """
        params, model_state = (tuple(itertools.chain.from_iterable(each)) for each in trained)
        return self.segment(0, len(self)).apply(params, model_state, inputs, training=False)[0]

    def _require_separate(self) -> None:
        owners: dict[int, int] = {}
        for index, layer in enumerate(self.layers):
            for path, part in nnx.iter_graph(layer):
                if not isinstance(part, nnx.Variable) or isinstance(part, nnx.RngState):
                    continue
                owner = owners.setdefault(id(part), index)
                if owner != index:
                    raise ModelError(
                        f"layers must not share parameters, got '{path[-1]}' both in layer "
                        f"{self.names[owner]} and in {self.names[index]}; make a module for each, "
                        "or one layer of both, or name them in tied="
                    )

    @staticmethod
    def _as_layer(index: int, layer: object) -> nnx.Module:
        if isinstance(layer, nnx.Module):
            return layer
        if any(each.__module__.startswith("flax.linen") for each in type(layer).__mro__):
            raise ModelError(
                f"layer {index} must be a module of flax.nnx, got {type(layer).__name__} of "
                "flax.linen; use its namesake in nnx, or wrap it in nnx.bridge.ToNNX"
            )
        if callable(layer):
            return Function(layer)
        raise ModelError(
            f"layer {index} must be an nnx.Module or a function, got {type(layer).__name__}; "
            "wrap it in an nnx.Module with a __call__"
        )


def _kind(layer: nnx.Module) -> str:
    if isinstance(layer, Function):
        return getattr(layer.function, "__name__", "function").strip("<>")
    return type(layer).__name__
