"""Compiled functions that hand no kernel to threads which may be busy.

    merge = SmallCalls(merge)            # in place of jax.jit

In a call with more than eight kernels XLA hands some of them to its pool of CPU threads, where they wait
behind the kernels of whatever pass another thread computes: a merge that needs half a millisecond then
waits for as long as a segment takes. Fewer kernels are computed at once, by the thread that calls. That
was seen with workers bound to one core; with several XLA may also divide one large kernel among threads.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import jax

from layup_jax.types import Array, PyTree

_ARRAYS_OF_A_CALL = 5  # each a kernel, and some for what they have in common


class SmallCalls:
    """A function compiled in parts, each of which gives some arrays of the result; one part off CPUs.

    Threads: any.
    """

    def __init__(self, function: Callable[..., PyTree]):
        """Compiles at first use.

        Args:
          function: that jax.jit could take. What arrays of its result have in common is computed again in
            each part, so it must be cheap.
        """
        self._function = function
        self._most = _ARRAYS_OF_A_CALL if jax.default_backend() == "cpu" else sys.maxsize
        self._part = jax.jit(self._arrays, static_argnums=0)
        self._results: dict[Any, Any] = {}

    def __call__(self, *arguments: PyTree) -> PyTree:
        """The function's result."""
        result = self._result(arguments)
        starts = range(0, result.num_leaves, self._most)
        arrays = [array for start in starts for array in self._part(start, *arguments)]
        return jax.tree.unflatten(result, arrays)

    def lower(self, *arguments: PyTree) -> list[Any]:
        """What `jax.jit(...).lower` gives, for each part."""
        starts = range(0, self._result(arguments).num_leaves, self._most)
        return [self._part.lower(start, *arguments) for start in starts]

    def _arrays(self, start: int, *arguments: PyTree) -> list[Array]:
        return jax.tree.leaves(self._function(*arguments))[start : start + self._most]

    def _result(self, arguments: tuple[PyTree, ...]) -> Any:
        """How the result is built, which is asked for once for each kind of arguments."""
        given = jax.tree.structure(arguments)
        if given not in self._results:
            self._results[given] = jax.tree.structure(jax.eval_shape(self._function, *arguments))
        return self._results[given]
