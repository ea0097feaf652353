"""Algorithms by name: the only place that knows which ones there are.

strategy = make_strategy(Setup(config.strategy, optax.sgd(0.1), num_workers=4))
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import optax

from layup_jax.config import StrategyConfig
from layup_jax.config_checks import unused
from layup_jax.strategies.a2cid2 import A2CiD2
from layup_jax.strategies.ad_psgd import ADPSGD
from layup_jax.strategies.base import OptaxStrategy, Strategy
from layup_jax.strategies.co2 import CO2, CO2Options
from layup_jax.strategies.d_psgd import DPSGD
from layup_jax.strategies.ddp import DDP
from layup_jax.strategies.gosgd import GoSGD
from layup_jax.strategies.lap_sgd import LAPSGD
from layup_jax.strategies.layup import LayUpOptions, kind
from layup_jax.strategies.local import Local
from layup_jax.strategies.local_sgd import LocalSGD, Rounds
from layup_jax.strategies.outer import OuterOptimization, nesterov, slow_momentum
from layup_jax.strategies.sgp import SGP
from layup_jax.strategies.streaming_diloco import Streaming, StreamingDiLoCo
from layup_jax.topology import Topology, make_topology
from layup_jax.types import Asked


class Setup(NamedTuple):
    """What an algorithm is made from.

    Attributes:
      config: its options.
      optimizer: any optax transformation; the inner one where there are two.
      num_workers: of the run.
      learning_rate: of `optimizer`, as a number or schedule; SlowMo rescales its momentum by it.
    """

    config: StrategyConfig
    optimizer: optax.GradientTransformation
    num_workers: int
    learning_rate: optax.ScalarOrSchedule = 1.0


class Method(NamedTuple):
    """One algorithm.

    Attributes:
      summary: one line for `layup list`.
      kind: options -> class of the strategy.
      make: builds it.
      topology: that it has unless one is configured.
      partition: what "auto" means for it; None measures.
      is_whole: whether that is its partition whatever is configured.
      pipeline: what "auto" means for it.
      own_momentum: whether threads that share parameters have an optimizer state each.
      is_partial: whether they alternate full and partial gradients.
      takes: the options, beside its name, that it heeds.
    """

    summary: str
    kind: Callable[[StrategyConfig], type[OptaxStrategy]]
    make: Callable[[Setup], Strategy]
    topology: str = "complete"
    partition: str | None = None
    is_whole: bool = False
    pipeline: str = "interleaved"
    own_momentum: bool = True
    is_partial: bool = False
    takes: tuple[str, ...] = ()


_GOSSIPS = ("peer_per", "probability", "topology")
_OUTER = ("period", "outer_learning_rate", "outer_momentum")


def _graph(setup: Setup) -> Topology:
    name = setup.config.topology or STRATEGIES[setup.config.name].topology
    return make_topology(name, setup.num_workers)


def _layup_options(config: StrategyConfig) -> LayUpOptions:
    return LayUpOptions(config.mixing, config.peer_per, config.probability)


def _rounds(config: StrategyConfig, period: int) -> Rounds:
    return Rounds(config.period or period, config.local_from)


def _outer(config: StrategyConfig, learning_rate: float, momentum: float) -> tuple[float, float]:
    """The configured outer learning rate and momentum, with a method's own where there are none."""
    rate, kept = config.outer_learning_rate, config.outer_momentum
    return learning_rate if rate is None else rate, momentum if kept is None else kept


def _layup(setup: Setup) -> Strategy:
    options = _layup_options(setup.config)
    return kind(options)(setup.optimizer, _graph(setup), options)


def _pd_asgd(setup: Setup) -> Strategy:
    strategy = _layup(setup)
    strategy.name = "pd_asgd"
    return strategy


def _lap_sgd(setup: Setup) -> Strategy:
    return LAPSGD(setup.optimizer, setup.config.name)


def _gosgd(setup: Setup) -> Strategy:
    return GoSGD(setup.optimizer, _graph(setup), _layup_options(setup.config))


def _ad_psgd(setup: Setup) -> Strategy:
    return ADPSGD(setup.optimizer, _graph(setup), _layup_options(setup.config))


def _a2cid2(setup: Setup) -> Strategy:
    return A2CiD2(setup.optimizer, _graph(setup), setup.config.rate)


def _sgp(setup: Setup) -> Strategy:
    return SGP(setup.optimizer, _graph(setup), overlap=setup.config.name == "osgp")


def _d_psgd(setup: Setup) -> Strategy:
    return DPSGD(setup.optimizer, _graph(setup))


def _ddp(setup: Setup) -> Strategy:
    return DDP(setup.optimizer)


def _local_sgd(setup: Setup) -> Strategy:
    return LocalSGD(setup.optimizer, _rounds(setup.config, 8))


def _slowmo(setup: Setup) -> Strategy:
    rounds = _rounds(setup.config, 48)
    rate, momentum = _outer(setup.config, 1.0, 0.5)
    outer = slow_momentum(rate, momentum, setup.learning_rate, rounds)
    return OuterOptimization(setup.optimizer, rounds, outer, "slowmo")


def _co2(setup: Setup) -> Strategy:
    rate, momentum = _outer(setup.config, 0.4, 0.5)
    options = CO2Options(rate, momentum, setup.config.outer_clip)
    return CO2(setup.optimizer, setup.config.period or 48, options)


def _diloco(setup: Setup) -> Strategy:
    outer = nesterov(*_outer(setup.config, 0.7, 0.9))
    return OuterOptimization(setup.optimizer, _rounds(setup.config, 500), outer, "diloco")


def _streaming_diloco(setup: Setup) -> Strategy:
    config = setup.config
    streaming = Streaming(
        config.period or 100, config.fragments, config.delay_steps, config.local_share
    )
    return StreamingDiLoCo(setup.optimizer, streaming, nesterov(*_outer(config, 0.7, 0.9)))


def _local(setup: Setup) -> Strategy:
    return Local(setup.optimizer, setup.config.name)


def _always(strategy: type[OptaxStrategy]) -> Callable[[StrategyConfig], type[OptaxStrategy]]:
    return lambda config: strategy


STRATEGIES = {
    "layup": Method(
        "asynchronous layer-wise updates, each layer gossiped as backpropagation yields it",
        lambda config: kind(_layup_options(config)),
        _layup,
        takes=("mixing", *_GOSSIPS),
    ),
    "a2cid2": Method(
        "asynchronous pairwise gossip accelerated by a continuous momentum, for poor topologies",
        _always(A2CiD2),
        _a2cid2,
        topology="ring",
        takes=("rate", "topology"),
    ),
    "gosgd": Method(
        "asynchronous push-sum gossip of the whole model",
        _always(GoSGD),
        _gosgd,
        partition="model",
        takes=_GOSSIPS,
    ),
    "ad_psgd": Method(
        "asynchronous pairwise averaging of the whole model",
        _always(ADPSGD),
        _ad_psgd,
        topology="ring",
        partition="model",
        takes=_GOSSIPS,
    ),
    "sgp": Method(
        "push-sum in rounds over a directed graph whose edges take turns",
        _always(SGP),
        _sgp,
        topology="one_peer_exponential",
        partition="model",
        takes=("topology",),
    ),
    "osgp": Method(
        "SGP whose rounds are overlapped with the next step",
        _always(SGP),
        _sgp,
        topology="one_peer_exponential",
        partition="model",
        takes=("topology",),
    ),
    "d_psgd": Method(
        "synchronous averaging with all neighbours, overlapped with the next gradient",
        _always(DPSGD),
        _d_psgd,
        topology="ring",
        partition="model",
        takes=("topology",),
    ),
    "ddp": Method(
        "synchronous data parallelism: the mean gradient, averaged during the backward pass",
        _always(DDP),
        _ddp,
    ),
    "local_sgd": Method(
        "parameters averaged every H steps; post-local SGD with local_from",
        _always(LocalSGD),
        _local_sgd,
        partition="model",
        takes=("period", "local_from"),
    ),
    "slowmo": Method(
        "LocalSGD with a slow momentum from round to round",
        _always(OuterOptimization),
        _slowmo,
        partition="model",
        takes=("local_from", *_OUTER),
    ),
    "co2": Method(
        "SlowMo whose averages take a whole round to arrive, fully overlapped",
        _always(CO2),
        _co2,
        partition="model",
        takes=("outer_clip", *_OUTER),
    ),
    "diloco": Method(
        "LocalSGD with a Nesterov outer optimizer",
        _always(OuterOptimization),
        _diloco,
        partition="model",
        takes=("local_from", *_OUTER),
    ),
    "streaming_diloco": Method(
        "DiLoCo by fragments in turn, each merged some steps later",
        _always(StreamingDiLoCo),
        _streaming_diloco,
        takes=("fragments", "delay_steps", "local_share", *_OUTER),
    ),
    "pd_asgd": Method(
        "forward and backward passes in threads of their own, layers gossiped between workers",
        lambda config: kind(_layup_options(config)),
        _pd_asgd,
        partition="layer",
        pipeline="decoupled",
        takes=("mixing", *_GOSSIPS),
    ),
    "hogwild": Method(
        "threads that update the same parameters, no communication between workers",
        _always(Local),
        _local,
        pipeline="shared",
        own_momentum=False,
    ),
    "lap_sgd": Method(
        "threads with a momentum each on the same parameters, averaged between workers meanwhile",
        _always(LAPSGD),
        _lap_sgd,
        pipeline="shared",
    ),
    "lpp_sgd": Method(
        "LAP-SGD whose threads update only their part of the model in every second step",
        _always(LAPSGD),
        _lap_sgd,
        partition="layer",
        pipeline="shared",
        is_partial=True,
    ),
    "local": Method(
        "no communication, with the same engine: what communication is measured against",
        _always(Local),
        _local,
    ),
    "fused": Method(
        "no communication, the whole step as one jitted call with donation: the limit of speed",
        _always(Local),
        _local,
        partition="model",
        is_whole=True,
    ),
}


def make_strategy(setup: Setup) -> Strategy:
    """The configured algorithm; the same object may serve all workers.

    Raises:
      ConfigError: it cannot be had with these options for so many workers.
    """
    return STRATEGIES[setup.config.name].make(setup)


def asks(config: StrategyConfig) -> Asked:
    """The kind of the configured algorithm's requests."""
    return STRATEGIES[config.name].kind(config).asks


def advice(setup: Setup) -> list[str]:
    """Sentences about options that are allowed and gain nothing."""
    name = setup.config.name
    takes = ("name", *STRATEGIES[name].takes)
    return [*unused(name, "strategy", setup.config, takes), *_accelerates_nothing(setup)]


def _accelerates_nothing(setup: Setup) -> list[str]:
    if setup.config.name != "a2cid2" or setup.num_workers == 1:
        return []
    graph = _graph(setup)
    if len(graph.targets(0, 0)) < setup.num_workers - 1 or graph.chi1() > 1.001 * graph.chi2():
        return []
    return [
        f"a2cid2 gains nothing on the complete graph, which '{graph.name}' is with "
        f"{setup.num_workers} workers; use layup, or a sparser topology"
    ]
