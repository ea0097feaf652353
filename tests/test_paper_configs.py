"""The configurations at the scale of papers: every algorithm, the networks, and schedules in numbers."""

import dataclasses
import functools
from pathlib import Path

import numpy as np
import optax
import pytest

from layup_jax.config import validated
from layup_jax.config_file import load_config
from layup_jax.data import Signature
from layup_jax.data.roles import Kind
from layup_jax.epochs import for_workers
from layup_jax.losses import cross_entropy
from layup_jax.models.check import check_model
from layup_jax.optimizers import learning_rate_schedule
from layup_jax.strategies import STRATEGIES, Setup, advice, make_strategy
from layup_jax.training import build_model

CONFIGS = Path(__file__).parents[1] / "configs"
F32, I32 = np.dtype(np.float32), np.dtype(np.int32)
_images = functools.partial(Signature, Kind.ARRAYS, input_dtype=F32, label_shape=())
SIGNATURES = {
    "cifar10_resnet18": _images(input_shape=(32, 32, 3), num_classes=10),
    "cifar10_resnet50": _images(input_shape=(32, 32, 3), num_classes=10),
    "cifar100_resnet18": _images(input_shape=(32, 32, 3), num_classes=100),
    "cifar100_resnet50": _images(input_shape=(32, 32, 3), num_classes=100),
    "imagenet_resnet50": _images(input_shape=(224, 224, 3), num_classes=1000),
    "imdb_lstm": Signature(Kind.LABELLED_TEXTS, (1024,), I32, (), 2, 258),
    "lm1b_gpt2": Signature(Kind.DOCUMENTS, (1024,), I32, (1024,), 257, 257),
}
TINY = {"resnet18": {"width": 8}, "resnet50": {"width": 8}, "lstm": {"width": 8, "units": 4}}


def _load(name, method="layup"):
    return validated(load_config(f"{CONFIGS}/{name}.py:{method}"))


@pytest.mark.parametrize("name", SIGNATURES)
def test_every_algorithm_can_be_chosen(name):
    layup = _load(name)
    for method in (*STRATEGIES, "push_sum"):
        config = _load(name, method)
        assert config.name == f"{name}_{method}"
        assert config.strategy.name == ("layup" if method == "push_sum" else method)
        assert dataclasses.replace(config, name=layup.name, strategy=layup.strategy) == layup
        setup = Setup(config.strategy, optax.sgd(0.1), 8)
        make_strategy(setup)
        assert advice(setup) == []


@pytest.mark.parametrize("name", SIGNATURES)
def test_the_network_suits_the_data(name):
    config, signature = _load(name), SIGNATURES[name]
    model = dataclasses.replace(
        config.model, options={**config.model.options, **TINY.get(config.model.name, {})}
    )
    if config.model.name == "gpt2":
        assert config.model.options == {"size": "small", "dropout": 0.0}
        model = dataclasses.replace(model, name="gpt", options={"depth": 1, "width": 8, "heads": 1})
    built = build_model(dataclasses.replace(config, model=model), signature)
    check_model(built, cross_entropy, signature.example())


@pytest.mark.parametrize(
    ("name", "workers", "samples", "rates"),
    [
        # 50,000 / 4 = 12,500: 97 batches; 19,400 steps, 485 of warm-up, 4 x 0.1.
        ("cifar10_resnet50", 4, 50_000, {97: 0.08, 485: 0.4, 9699: 0.4, 9700: 0.04, 14550: 0.004}),
        # 1,281,167 / 64 = 20,018: 156 batches; 14,040 steps, 780 of warm-up, 64 * 128 / 256 = 32 x 0.1.
        (
            "imagenet_resnet50",
            64,
            1_281_167,
            {390: 1.6, 780: 3.2, 4679: 3.2, 4680: 0.32, 9360: 0.032, 12480: 0.0032},
        ),
        # 25,000 / 4 = 6,250: 195 batches; 1,950 steps, 39 of warm-up; halfway down the cosine 994.5.
        ("imdb_lstm", 4, 25_000, {39: 1e-3, 1950: 0}),
        ("lm1b_gpt2", 8, None, {500: 2e-4, 1000: 4e-4, 13000: 2e-4, 25000: 0}),
    ],
)
def test_learning_rates_of_workers(name, workers, samples, rates):
    config = for_workers(_load(name), num_workers=workers, num_samples=samples)
    rate = learning_rate_schedule(config.optimizer, config.stop.steps)
    for step, value in rates.items():
        np.testing.assert_allclose(rate(step), value, rtol=1e-5, atol=1e-9)
