"""Arrays that two layers share: a language model's embedding is its last layer's matrix too.

    model = LayeredModel([embedding, *blocks, head], tied={"-1.embedding": "0.tokens.embedding"})

The layer in which it comes first owns the array, the other one borrows it: one slot, one version, one
message.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax

from layup_jax.errors import ModelError, nearest
from layup_jax.types import Array, PyTree

Path = tuple[str | int, ...]  # in a nested dict


class Place(NamedTuple):
    """An array within a model: index of a layer, and the path in its nested dict of parameters."""

    layer: int
    path: Path

    def within(self, start: int) -> Place:
        """The same, counted from layer `start`."""
        return Place(self.layer - start, self.path)

    def get(self, params: Sequence[PyTree]) -> Array:
        """The array there."""
        value: Any = params[self.layer]
        for name in self.path:
            value = value[name]
        return value


class Tie(NamedTuple):
    """Two places of one array; the owner's comes first."""

    owner: Place
    borrower: Place


def filled(params: Sequence[PyTree], arrays: Mapping[Place, Array]) -> tuple[PyTree, ...]:
    """The parameters of layers with arrays put in at places where there are none."""
    copies = list(params)
    for place, array in arrays.items():
        copies[place.layer] = _with(copies[place.layer], place.path, array)
    return tuple(copies)


def without(params: PyTree, path: Path) -> PyTree:
    """The nested dict of one layer, the array at `path` left out."""
    name, *rest = path
    if rest:
        return {**params, name: without(params[name], (*rest,))}
    return {key: value for key, value in params.items() if key != name}


def read_ties(tied: Mapping[str, str], params: Sequence[PyTree]) -> tuple[Tie, ...]:
    """Finds what is named.

    Args:
      tied: from borrower to owner, each the index of a layer (negative from the end) and a path, joined
        by points: "0.tokens.embedding".
      params: for every layer a nested dict of arrays.

    Raises:
      ModelError: no such mapping, a name that does not exist, arrays of different shape or dtype, an
        owner that does not come first, or that is itself tied to another.
    """
    is_mapping = isinstance(tied, Mapping)
    if not is_mapping or not all(isinstance(name, str) for pair in tied.items() for name in pair):
        raise ModelError(
            f"tied must map names of parameters to names, got {tied!r}; write such as "
            "{'-1.embedding': '0.tokens.embedding'}"
        )
    ties = tuple(Tie(_find(owner, params), _find(name, params)) for name, owner in tied.items())
    borrowed = {tie.borrower for tie in ties}
    for tie, (name, owner) in zip(ties, tied.items(), strict=True):
        mine, other = tie.borrower.get(params), tie.owner.get(params)
        if (mine.shape, mine.dtype) != (other.shape, other.dtype):
            raise ModelError(
                f"tied arrays must be alike, got {mine.dtype}{list(mine.shape)} for '{name}' and "
                f"{other.dtype}{list(other.shape)} for '{owner}'; make their layers fit"
            )
        if tie.owner.layer >= tie.borrower.layer:
            raise ModelError(
                f"a tied array belongs to the layer in which it comes first, got '{owner}' as owner of "
                f"'{name}'; exchange the two"
            )
        if tie.owner in borrowed:
            raise ModelError(
                f"the owner of a tied array must not be tied itself, got '{owner}'; tie '{name}' to "
                "what that is tied to"
            )
    return ties


def _find(name: str, params: Sequence[PyTree]) -> Place:
    index, _, path = name.partition(".")
    try:
        layer = range(len(params))[int(index)]
    except (ValueError, IndexError):
        raise ModelError(
            f"a tied name must begin with the index of a layer, 0 to {len(params) - 1}, got '{name}'; "
            "write such as '0.tokens.embedding'"
        ) from None
    known = {".".join(map(str, each)): each for each in _paths(params[layer])}
    if path not in known:
        raise ModelError(
            f"layer {layer} must have the tied parameter '{path}', got none of that name; "
            f"{nearest(path, known)}"
        )
    return Place(layer, known[path])


def _paths(params: PyTree) -> list[Path]:
    leaves = jax.tree_util.tree_leaves_with_path(params)
    return [tuple(getattr(key, "key", key) for key in path) for path, _ in leaves]


def _with(params: PyTree, path: Path, array: Array) -> PyTree:
    name, *rest = path
    return {**params, name: _with(params.get(name, {}), (*rest,), array) if rest else array}
