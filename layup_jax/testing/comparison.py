"""Comparisons of pytrees that say what is compared.

require_equal(after.params, before.params, "what is sent must survive being sent")
"""

from __future__ import annotations

from typing import Any

import jax
import numpy as np

from layup_jax.types import PyTree


def shapes(tree: PyTree) -> PyTree:
    """The same tree with the shape and dtype of each leaf in its place."""
    return jax.eval_shape(lambda: tree)


def copied(tree: PyTree) -> PyTree:
    """The same tree with copies of its values."""
    return jax.tree.map(np.array, tree)


def require_same_shapes(found: PyTree, expected: PyTree, what: str) -> None:
    """Structure, shapes and dtypes.

    Raises:
      AssertionError: they differ.
    """
    got, wanted = shapes(found), shapes(expected)
    assert got == wanted, f"{what}: expected {wanted}, got {got}"


def require_equal(found: PyTree, expected: PyTree, what: str) -> None:
    """Structure and all values.

    Raises:
      AssertionError: they differ.
    """
    _require_structure(found, expected, what)
    jax.tree.map(
        lambda left, right: np.testing.assert_array_equal(left, right, what), found, expected
    )


def require_close(found: PyTree, expected: PyTree, what: str, **tolerances: Any) -> None:
    """Structure, and all values up to the tolerances of `np.testing.assert_allclose`.

    Raises:
      AssertionError: they differ by more.
    """
    _require_structure(found, expected, what)

    def require(left: Any, right: Any) -> None:
        left, right = (np.asarray(each, np.float64) for each in (left, right))
        np.testing.assert_allclose(left, right, err_msg=what, **tolerances)

    jax.tree.map(require, found, expected)


def _require_structure(found: PyTree, expected: PyTree, what: str) -> None:
    got, wanted = jax.tree.structure(found), jax.tree.structure(expected)
    assert got == wanted, f"{what}: expected the structure {wanted}, got {got}"
