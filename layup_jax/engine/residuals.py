"""What a segment's forward pass leaves for its backward pass, without copying what already exists.

A VJP closure holds arrays. Many of them are the segment's own parameters, inputs or outputs, and a
jitted function that returned them again would copy every one. So `capture` returns only the arrays
that exist nowhere else, with a recipe for the rest; `restore` puts the closure together again.

    residuals = capture(pullback, params=params, inputs=inputs, outputs=outputs)   # while tracing
    pullback = restore(residuals, params=params, inputs=inputs, outputs=outputs)   # in another trace
"""

from __future__ import annotations

import dataclasses
from functools import partial
from typing import Any

import jax

from layup_jax.types import Array, PyTree


class Recipe:
    """Where each leaf of a VJP closure comes from; compared by identity, one for every trace."""

    def __init__(self, structure: Any, sources: tuple[tuple[str, int], ...]):
        """Takes the closure's tree structure and a (name, leaf index) source for every leaf."""
        self.structure = structure
        self.sources = sources


@partial(jax.tree_util.register_dataclass, data_fields=["arrays"], meta_fields=["recipe"])
@dataclasses.dataclass(frozen=True)
class Residuals:
    """The arrays that only the closure holds, and the recipe; a pytree that crosses jit and threads."""

    arrays: list[Array]
    recipe: Recipe


def capture(pullback: PyTree, **known: PyTree) -> Residuals:
    """Takes a VJP closure (or any other pytree) apart.

    Args:
      pullback: the closure `jax.vjp` returned, in the trace that made it.
      **known: named pytrees whose leaves need not be stored, as they were in that trace.

    Returns:
      The leaves of the closure that are in none of the known pytrees.
    """
    origin = {}
    for name, tree in known.items():
        for index, leaf in enumerate(jax.tree.leaves(tree)):
            origin.setdefault(id(leaf), (name, index))
    leaves, structure = jax.tree.flatten(pullback)
    arrays: list[Array] = []
    sources = []
    for leaf in leaves:
        if id(leaf) not in origin:
            origin[id(leaf)] = ("residuals", len(arrays))
            arrays.append(leaf)
        sources.append(origin[id(leaf)])
    return Residuals(arrays, Recipe(structure, tuple(sources)))


def restore(residuals: Residuals, **known: PyTree) -> PyTree:
    """Puts the closure of `capture` together again from the same known pytrees."""
    leaves = {name: jax.tree.leaves(tree) for name, tree in known.items()}
    leaves["residuals"] = residuals.arrays
    recipe = residuals.recipe
    return jax.tree.unflatten(
        recipe.structure, [leaves[name][index] for name, index in recipe.sources]
    )
