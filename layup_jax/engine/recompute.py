"""What a forward pass does not keep because the backward pass makes it again for less.

An elementwise operation costs less than writing its result to memory and reading it back, and inside the
backward call it fuses into whatever uses it. So a segment keeps the results of matrix products,
convolutions, reductions, transcendental functions and random numbers, and makes the cheap ones again.

    run = without_cheap_residuals(run)
    outputs, pullback = without_rounding(lambda params: jax.vjp(run, params))(params)

The second is for what jax.checkpoint adds to all that it keeps: see `without_rounding`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
from jax.extend import core

F = TypeVar("F", bound=Callable[..., Any])

CHEAP = frozenset(
    """abs add and broadcast_in_dim convert_element_type copy div eq expand_dims ge gt integer_pow
    iota is_finite le lt max min mul ne neg not or reshape rsqrt select_n sign sqrt square squeeze
    stop_gradient sub transpose""".split()  # noqa: SIM905  # a word list reads better
)

_CALLS = {"custom_jvp_call": "call_jaxpr", "jit": "jaxpr"}  # and what names the called function


def without_cheap_residuals(function: F) -> F:
    """The same function, whose VJP closure keeps no result of an operation in `CHEAP`.

    Nor that of a call, as of jax.nn.relu, of nothing else.
    """

    def is_kept(primitive: Any, *_: Any, **params: Any) -> bool:
        return not _is_cheap(primitive, params)

    # Forward and backward are compiled apart, so there is nothing to protect from common
    # subexpression elimination.
    return jax.checkpoint(function, policy=is_kept, prevent_cse=False)  # pyright: ignore


def _is_cheap(primitive: core.Primitive, params: Mapping[str, Any]) -> bool:
    if primitive.name not in _CALLS:
        return primitive.name in CHEAP
    called = params[_CALLS[primitive.name]]
    return all(_is_cheap(each.primitive, each.params) for each in called.eqns)


def without_rounding(function: F) -> F:
    """The same function, without operations that round a number to the precision that it has.

    jax.checkpoint puts one after whatever it keeps, so that forward and backward pass see the same number
    where XLA computes with more bits than asked for. From 32 bits on it does not, and there each costs a
    copy: 4 % of a small GPT's step on one core.
    """

    def run(*args: Any) -> Any:
        traced, shapes = jax.make_jaxpr(function, return_shape=True)(*args)
        exact = traced.replace(jaxpr=_without_rounding(traced.jaxpr))
        values = core.jaxpr_as_fun(exact)(*jax.tree.leaves(args))
        return jax.tree.unflatten(jax.tree.structure(shapes), values)

    return run  # pyright: ignore[reportReturnType]


def _without_rounding(jaxpr: core.Jaxpr) -> core.Jaxpr:
    same: dict[core.Var, Any] = {}

    def found(atoms: list[Any]) -> list[Any]:
        return [each if isinstance(each, core.Literal) else same.get(each, each) for each in atoms]

    equations = []
    for equation in jaxpr.eqns:
        equation = equation.replace(invars=found(equation.invars))
        if _rounds_nothing(equation):
            same[equation.outvars[0]] = equation.invars[0]
        else:
            equations.append(equation)
    return jaxpr.replace(eqns=equations, outvars=found(jaxpr.outvars))


def _rounds_nothing(equation: core.JaxprEqn) -> bool:
    if equation.primitive.name != "reduce_precision":
        return False
    rounded: Any = equation.invars[0].aval
    has = jnp.finfo(rounded.dtype)
    bits = equation.params["exponent_bits"], equation.params["mantissa_bits"]
    return has.bits >= 32 and bits == (has.nexp, has.nmant)
