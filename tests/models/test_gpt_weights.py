"""GPT-2's weights by transformers' names; logits and gradients are those of transformers.

The comparison is slow and wants the optional group `reference`.
"""

import jax
import numpy as np
import pytest

from layup_jax.data import Batch
from layup_jax.errors import ModelError
from layup_jax.losses import cross_entropy
from layup_jax.models import gpt, mlp, pretrained_gpt

CONTEXT, VOCABULARY, WIDTH, DEPTH, HEADS = 16, 29, 24, 3, 4


def _model(depth=DEPTH):
    return gpt((CONTEXT,), VOCABULARY, depth=depth, width=WIDTH, heads=HEADS)


def _weights():
    """Random ones, by the names and in the shapes of a checkpoint."""
    shapes = {"wte": (VOCABULARY, WIDTH), "wpe": (CONTEXT, WIDTH)}
    products = {
        "attn.c_attn": (WIDTH, 3 * WIDTH),
        "attn.c_proj": (WIDTH, WIDTH),
        "mlp.c_fc": (WIDTH, 4 * WIDTH),
        "mlp.c_proj": (4 * WIDTH, WIDTH),
    }
    norms = ["ln_f", *(f"h.{each}.{norm}" for each in range(DEPTH) for norm in ("ln_1", "ln_2"))]
    shapes |= dict.fromkeys(norms, (WIDTH,))
    for each in range(DEPTH):
        shapes |= {f"h.{each}.{name}": shape for name, shape in products.items()}
    random = np.random.default_rng(0)
    weights = {f"{name}.weight": random.normal(size=shape) for name, shape in shapes.items()}
    biased = [name for name in shapes if name not in ("wte", "wpe")]
    return weights | {f"{name}.bias": random.normal(size=shapes[name][-1]) for name in biased}


def _params(model):
    return model.segment(0, len(model)).init()[0]


def test_weights_come_to_their_places():
    weights = _weights()
    model = pretrained_gpt(_model(), weights)
    embedding, *blocks, head = _params(model)
    assert set(head) == {"norm"}
    places = {
        "wte.weight": embedding["tokens"]["embedding"],
        "wpe.weight": embedding["positions"]["embedding"],
        "ln_f.bias": head["norm"]["bias"],
        "h.0.ln_2.weight": blocks[0]["norm2"]["scale"],
        "h.1.attn.c_attn.weight": blocks[1]["attention"]["inputs"]["kernel"],
        "h.2.mlp.c_proj.bias": blocks[2]["perceptron"]["outputs"]["bias"],
    }
    for name, value in places.items():
        np.testing.assert_array_equal(value, weights[name].astype(np.float32))
    leaves = jax.tree.leaves(_params(model))
    assert sum(map(np.size, leaves)) == sum(map(np.size, weights.values()))
    assert {str(each.dtype) for each in leaves} == {"float32"}


def test_the_given_model_stays_as_it_is_and_blocks_stay_equal():
    model = _model()
    before = _params(model)
    begun = pretrained_gpt(model, _weights())
    jax.tree.map(np.testing.assert_array_equal, before, _params(model))
    assert begun.segment(1, 2) == begun.segment(2, 3) == model.segment(1, 2)
    assert begun.ties == model.ties


def test_names_may_be_longer_and_masks_are_left_out():
    weights = {f"transformer.{name}": each for name, each in _weights().items()}
    extra = {
        "lm_head.weight": weights["transformer.wte.weight"],
        "transformer.h.0.attn.bias": np.ones((1, 1, CONTEXT, CONTEXT)),
        "transformer.h.1.attn.masked_bias": np.array(-1e4),
    }
    plain, full = (pretrained_gpt(_model(), each) for each in (_weights(), weights | extra))
    jax.tree.map(np.testing.assert_array_equal, _params(plain), _params(full))


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"ln_f.bias": None}, r"model's depth, got no 'ln_f.bias'; use its own size$"),
        ({"h.3.ln_1.bias": np.zeros(3)}, "model's depth, got 'h.3.ln_1.bias' too; use its own"),
        (
            {"wpe.weight": np.zeros((8, WIDTH))},
            r"^weight 'wpe.weight' must have shape \(16, 24\) for this model, got \(8, 24\); use",
        ),
        ({"lm_head.weight": np.zeros((VOCABULARY, WIDTH))}, "got another one; use a checkpoint"),
    ],
)
def test_weights_that_do_not_fit_are_refused(changes, sentence):
    weights = {name: each for name, each in {**_weights(), **changes}.items() if each is not None}
    with pytest.raises(ModelError, match=sentence):
        pretrained_gpt(_model(), weights)


def test_other_models_are_refused():
    with pytest.raises(ModelError, match="need a model of gpt or gpt2, got one that begins with"):
        pretrained_gpt(mlp((8,), 3), _weights())


@pytest.mark.slow
def test_logits_loss_and_gradients_are_those_of_transformers():
    torch, transformers = pytest.importorskip("torch"), pytest.importorskip("transformers")
    config = transformers.GPT2Config(
        vocab_size=VOCABULARY,
        n_positions=CONTEXT,
        n_embd=WIDTH,
        n_layer=DEPTH,
        n_head=HEADS,
        initializer_range=0.3,  # 0.02 would leave attention and GELU in their linear parts
        bos_token_id=0,
        eos_token_id=0,
    )
    torch.manual_seed(0)
    network = transformers.GPT2LMHeadModel(config).eval()
    for parameter in network.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)  # biases begin at 0, scales at 1
    tokens = np.random.default_rng(0).integers(0, VOCABULARY, (5, CONTEXT + 1))
    batch = Batch(tokens[:, :-1].astype(np.int32), tokens[:, 1:].astype(np.int32))
    logits = network(torch.from_numpy(tokens[:, :-1])).logits
    loss = torch.nn.functional.cross_entropy(logits.mT, torch.from_numpy(tokens[:, 1:]))
    loss.backward()

    model = pretrained_gpt(_model(), network.state_dict())
    segment = model.segment(0, len(model))
    params, state = segment.init()

    def ours(params):
        outputs = segment.apply(params, state, batch.inputs, training=True)[0]
        return cross_entropy(outputs, batch), outputs

    (value, outputs), gradients = jax.value_and_grad(ours, has_aux=True)(params)
    # Sums of float32 in other orders: the largest difference found was 6e-6, of gradients 3e-7.
    np.testing.assert_allclose(outputs, logits.detach().numpy(), rtol=0, atol=1e-4)
    np.testing.assert_allclose(value, loss.item(), rtol=1e-6)
    named = {name: each.grad for name, each in network.named_parameters()}
    theirs = _params(pretrained_gpt(_model(), named))
    for own, other in zip(*map(jax.tree.leaves, (gradients, theirs)), strict=True):
        np.testing.assert_allclose(own, other, rtol=0, atol=3e-6)
