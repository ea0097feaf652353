"""Every algorithm, with a spread of its options, passes the conformance suite."""

import jax.numpy as jnp
import numpy as np
import optax
import pytest

from layup_jax.config import StrategyConfig
from layup_jax.strategies import STRATEGIES, Setup, advice, asks, make_strategy
from layup_jax.testing import strategies
from layup_jax.testing.comparison import require_equal
from layup_jax.testing.messages import Messages
from layup_jax.testing.network import Network

_SCHEDULE = optax.cosine_decay_schedule(1.0, 100)  # of the inner learning rate, for slowmo
CONFIGS = {
    "layup-pairwise": StrategyConfig("layup", mixing="pairwise"),
    "layup-push_sum": StrategyConfig("layup", mixing="push_sum"),
    "layup-per-segment": StrategyConfig("layup", peer_per="segment", probability=0.5),
    "layup-ring": StrategyConfig("layup", topology="ring"),
    "layup-one-peer": StrategyConfig("layup", "push_sum", topology="one_peer_exponential"),
    "a2cid2": StrategyConfig("a2cid2"),
    "a2cid2-ring": StrategyConfig("a2cid2", rate=4.0, topology="ring"),
    "gosgd": StrategyConfig("gosgd"),
    "gosgd-seldom": StrategyConfig("gosgd", probability=0.3),
    "ad_psgd": StrategyConfig("ad_psgd"),
    "ad_psgd-star": StrategyConfig("ad_psgd", topology="star"),
    "sgp": StrategyConfig("sgp"),
    "sgp-ring": StrategyConfig("sgp", topology="ring"),
    "osgp": StrategyConfig("osgp"),
    "osgp-ring": StrategyConfig("osgp", topology="ring"),
    "d_psgd": StrategyConfig("d_psgd"),
    "d_psgd-star": StrategyConfig("d_psgd", topology="star"),
    "ddp": StrategyConfig("ddp"),
    "local_sgd": StrategyConfig("local_sgd", period=3),
    "post-local": StrategyConfig("local_sgd", period=4, local_from=6),
    "slowmo": StrategyConfig("slowmo", period=3),
    "slowmo-schedule": StrategyConfig("slowmo", period=4, outer_learning_rate=0.8),
    "slowmo-post-local": StrategyConfig("slowmo", period=4, local_from=5),
    # The later a mean comes, the smaller are the steps that are stable: momentum 0.5 leaves less than 1.
    "co2": StrategyConfig("co2", period=3, outer_learning_rate=0.5),
    "co2-clip": StrategyConfig("co2", period=4, outer_learning_rate=0.5, outer_clip=0.5),
    "diloco": StrategyConfig("diloco", period=4),
    "diloco-plain": StrategyConfig(
        "diloco", period=1, outer_learning_rate=1.0, outer_momentum=0.0, local_from=3
    ),
    "streaming": StrategyConfig("streaming_diloco", period=4),
    "streaming-waits": StrategyConfig(
        "streaming_diloco", period=3, fragments=1, delay_steps=0, local_share=0.0
    ),
    "streaming-three": StrategyConfig(
        "streaming_diloco", period=10, fragments=3, delay_steps=3, outer_momentum=0.5
    ),
    "lap_sgd": StrategyConfig("lap_sgd"),
    "lpp_sgd": StrategyConfig("lpp_sgd"),
    "pd_asgd": StrategyConfig("pd_asgd"),
    "pd_asgd-push_sum": StrategyConfig("pd_asgd", mixing="push_sum"),
    "hogwild": StrategyConfig("hogwild"),
    "local": StrategyConfig("local"),
    "fused": StrategyConfig("fused"),
}
_OUTER = ("slowmo", "co2", "diloco", "streaming_diloco")


def _make(name):
    config, schedule = CONFIGS[name], _SCHEDULE if name == "slowmo-schedule" else 1.0
    return lambda optimizer, workers: make_strategy(Setup(config, optimizer, workers, schedule))


def _called(check):
    return check.__name__


for_all = pytest.mark.parametrize("name", CONFIGS)


def test_all_registered_strategies_are_tried():
    assert {config.name for config in CONFIGS.values()} == set(STRATEGIES)


@for_all
@pytest.mark.parametrize("check", strategies.CHECKS, ids=_called)
def test_conforms(check, name):
    check(_make(name))


@pytest.mark.parametrize("name", [name for name in CONFIGS if CONFIGS[name].name != "ddp"])
def test_applies_gradients_as_optax_does(name):
    strategies.applies_gradients_as_optax_does(_make(name))


@pytest.mark.parametrize("name", [n for n in CONFIGS if CONFIGS[n].name not in _OUTER])
def test_trains_alone_as_optax_does(name):
    strategies.trains_alone_as_optax_does(_make(name))


@for_all
def test_the_registry_knows_which_options_are_heeded(name):
    heard = set()

    class Listening(StrategyConfig):
        def __getattribute__(self, option):
            heard.add(option)
            return super().__getattribute__(option)

    config, takes = CONFIGS[name], set(STRATEGIES[CONFIGS[name].name].takes)
    STRATEGIES[config.name].make(Setup(Listening(**vars(config)), optax.sgd(0.1), 4))
    assert takes <= heard
    # GoSGD and AD-PSGD hand it on with the other options of LayUp, and are of one kind whatever it says.
    assert {each for each in heard if each in vars(config)} <= takes | {"name", "mixing"}
    assert not [each for each in advice(Setup(config, optax.sgd(0.1), 4)) if "no use" in each]


@pytest.mark.parametrize(
    ("config", "words"),
    [
        (StrategyConfig("ddp", mixing="push_sum"), "ddp has no use for config.strategy.mixing"),
        (StrategyConfig("gosgd", mixing="push_sum"), "gosgd has no use for config.strategy.mixing"),
        (StrategyConfig("co2", local_from=5), "config.strategy.local_from, got 5; it changes"),
        (StrategyConfig("layup", period=8), "layup has no use for config.strategy.period, got 8"),
        (StrategyConfig("fused", topology="ring"), "config.strategy.topology, got 'ring'"),
    ],
)
def test_an_option_that_is_not_heeded_is_warned_of(config, words):
    (sentence,) = advice(Setup(config, optax.sgd(0.1), 4))
    assert words in sentence


@for_all
def test_the_registry_knows_what_it_makes(name):
    strategy = _make(name)(optax.sgd(0.1), 4)
    assert strategy.name == CONFIGS[name].name
    assert asks(CONFIGS[name]) is strategy.asks


def test_pairwise_workers_with_different_targets_stay_together(double):
    """With linear gradients taken together, the mean over workers is plain gradient descent."""
    targets = np.random.default_rng(0).normal(size=(4, 3))
    network = Network(_make("layup-pairwise")(optax.sgd(0.2), 4), np.zeros((4, 1, 3)))
    for _ in range(100):
        network.step(lambda rank, params: params - targets[rank])
    found = network.parameters()[:, 0]
    np.testing.assert_allclose(found.mean(axis=0), targets.mean(axis=0), rtol=1e-6)
    apart = np.linalg.norm(found - found.mean(axis=0), axis=1).max()
    assert apart < np.linalg.norm(targets - targets.mean(axis=0), axis=1).max() / 2


@pytest.mark.parametrize("name", ["layup-pairwise", "a2cid2-ring", "ad_psgd", "d_psgd"])
def test_giving_twice_at_one_time_is_giving_once(name):
    strategy = _make(name)(optax.sgd(0.1), 4)
    messages, state = Messages(strategy), strategy.init(jnp.ones(3), ())
    once, _ = messages.send(state, jnp.asarray(1.5))
    twice, _ = messages.send(once, jnp.asarray(1.5))
    require_equal(twice, once, "at one time nothing more changes")
    if name != "a2cid2-ring":  # whose clock goes on
        require_equal(once, state, "giving changes nothing")
