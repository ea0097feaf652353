"""check_model: fitting models pass without computing, others are refused in one sentence."""

import jax.numpy as jnp
import numpy as np
import pytest
import tiny
from flax import nnx

from layup_jax.errors import DataError, ModelError
from layup_jax.models import LayeredModel
from layup_jax.models.check import check_model


@pytest.mark.parametrize("name", tiny.MODELS)
def test_lets_models_pass_that_fit(name):
    make, batch = tiny.MODELS[name]
    check_model(make(), tiny.loss, batch())


def refusal(layers, loss=tiny.loss, batch=None):
    with pytest.raises(ModelError) as caught:
        check_model(LayeredModel(layers), loss, batch or tiny.features())
    sentence = str(caught.value)
    assert "\n" not in sentence
    assert ".;" not in sentence
    return sentence


def linear(num_inputs, num_outputs):
    return nnx.Linear(num_inputs, num_outputs, rngs=nnx.Rngs(0))


def test_names_the_layer_that_does_not_fit_the_data():
    sentence = refusal([linear(5, 3)])
    assert sentence.startswith("layer 00-Linear cannot take float32[8, 4] from the data: ")
    assert sentence.endswith("; make its input shape fit")


def test_names_the_layer_that_does_not_fit_the_one_before_it():
    sentence = refusal([linear(4, 6), jnp.tanh, linear(5, 3)])
    assert sentence.startswith("layer 02-Linear cannot take float32[8, 6] from layer 01-tanh: ")


def test_names_what_a_failing_layer_got_of_a_pytree():
    def unpack(parts):
        return parts["missing"]

    sentence = refusal([lambda x: (x, x > 0), unpack])
    assert sentence.startswith(
        "layer 01-unpack cannot take float32[8, 4], bool[8, 4] from layer 00-lambda: "
    )


def test_names_the_loss_that_does_not_fit():
    sentence = refusal([linear(4, 3)], loss=lambda outputs, batch: jnp.sum(outputs @ jnp.ones(5)))
    assert sentence.startswith("the loss cannot take float32[8, 3] from layer 00-Linear: ")
    assert sentence.endswith("; make the last layer fit the loss")


def test_passes_on_what_a_loss_says_of_labels():
    batch = tiny.features()._replace(labels=np.zeros((8, 2), np.int32))
    with pytest.raises(DataError, match=r"^labels must have shape \(8,\), or \(8, 3\)"):
        check_model(LayeredModel([linear(4, 3)]), tiny.loss, batch)


def test_refuses_a_loss_that_is_no_scalar():
    sentence = refusal([linear(4, 3)], loss=lambda outputs, batch: outputs[:, 0])
    assert sentence == "the loss must return a scalar, got shape (8,); take the mean"


@pytest.mark.parametrize(
    ("loss", "sentence"),
    [
        (lambda outputs, batch: (outputs.mean(), 1), "a scalar, got tuple; take the mean"),
        (lambda outputs, batch: None, "a scalar, got NoneType; take the mean"),
        (lambda outputs, batch: jnp.argmax(outputs), "a float, got int32; "),
    ],
)
def test_refuses_a_loss_that_is_no_float(loss, sentence):
    assert refusal([linear(4, 3)], loss).startswith(f"the loss must return {sentence}")


def test_computes_nothing(compilations):
    model, batch = tiny.normed_model(), tiny.features()
    check_model(model, tiny.loss, batch)
    with compilations() as compiled:
        check_model(model, tiny.loss, batch)
    assert compiled == []
