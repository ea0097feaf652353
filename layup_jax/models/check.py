"""Whether a model's layers fit each other, its data and its loss; found out without computing."""

from __future__ import annotations

from collections.abc import Callable

import jax

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
        is no scalar. A loss's own LayupError, as of labels of a wrong shape, is passed on.
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
                f"layer {name} cannot take {_shapes(outputs)} from {source}: {_cause(error)}; "
                "make its input shape fit"
            ) from error
        source = f"layer {name}"
    try:
        shape = jax.eval_shape(loss, outputs, batch).shape
    except LayupError:
        raise
    except Exception as error:
        raise ModelError(
            f"the loss cannot take {_shapes(outputs)} from {source}: {_cause(error)}; "
            "make the last layer fit the loss"
        ) from error
    if shape != ():
        raise ModelError(f"the loss must return a scalar, got shape {shape}; take the mean")


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


def _cause(error: Exception) -> str:
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0].rstrip(".")
