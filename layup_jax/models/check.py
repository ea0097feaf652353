"""Whether a model's layers fit each other, its data and its loss; found out without computing."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp

from layup_jax.errors import LayupError, ModelError
from layup_jax.models.layers import LayeredModel, Segment
from layup_jax.models.loans import Flow, Loans
from layup_jax.types import Array, PyTree


def check_model(
    model: LayeredModel, loss: Callable[[PyTree, PyTree], Array], batch: PyTree
) -> None:
    """Follows the shapes through all layers.

    Args:
      model: the layers.
      loss: (outputs of the last layer, batch) -> scalar.
      batch: a record with `inputs`, as in training.

    Raises:
      ModelError: no LayeredModel, a layer that cannot take what the one before it gives, or a loss that
        is no scalar float. A loss's own LayupError, as of labels of a wrong shape, is passed on.
    """
    if not isinstance(model, LayeredModel):
        raise ModelError(
            f"a task's model must be a LayeredModel, got {type(model).__name__}; pass "
            "LayeredModel([first_layer, ...])"
        )
    outputs, source = batch.inputs, "the data"
    segments = [model.segment(index, index + 1) for index in range(len(model))]
    ways = Loans(segments)
    for index, name in enumerate(model.names):
        try:
            outputs = _outputs(segments, ways, index, outputs)
        except Exception as error:
            raise ModelError(
                f"layer {name} cannot take {_shapes(outputs)} from {source}: {cause_of(error)}; "
                "make its input shape fit"
            ) from error
        source = f"layer {name}"
    try:
        found = jax.eval_shape(loss, outputs, batch)
    except LayupError:
        raise
    except Exception as error:
        raise ModelError(
            f"the loss cannot take {_shapes(outputs)} from {source}: {cause_of(error)}; "
            "make the last layer fit the loss"
        ) from error
    check_scalar("loss", found)
    if not jnp.issubdtype(found.dtype, jnp.floating):
        raise ModelError(
            f"the loss must return a float, got {found.dtype}; it is what gradients are taken of"
        )


def check_scalar(name: str, found: PyTree) -> None:
    """Whether a loss or a metric, called `name`, gave one number.

    Args:
      name: for the message.
      found: shapes of what it returned, as `jax.eval_shape` tells them.

    Raises:
      ModelError: it did not.
    """
    shape = getattr(found, "shape", None)
    if shape != ():
        got = type(found).__name__ if shape is None else f"shape {shape}"
        raise ModelError(f"the {name} must return a scalar, got {got}; take the mean")


def cause_of(error: Exception) -> str:
    """The first line of what an error says."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0].rstrip(".")


def _outputs(segments: list[Segment], ways: Loans, index: int, inputs: PyTree) -> PyTree:
    params, model_state = segments[index].init()

    def run(inputs: PyTree) -> PyTree:
        values, loans = ways.taken(index, inputs)
        key = jax.random.key(0)
        outputs = segments[index].apply(params, model_state, values, key, training=True)[0]
        return ways.onward(index, outputs, params, loans)

    return jax.eval_shape(run, inputs)


def _shapes(tree: PyTree) -> str:
    tree = tree.values if isinstance(tree, Flow) else tree
    return ", ".join(f"{leaf.dtype}{list(leaf.shape)}" for leaf in jax.tree.leaves(tree))
