"""What tests of `run_local` share: a small task, its data, configurations and a sink."""

import itertools

import jax
import numpy as np
import optax
import tiny

import layup_jax

ALGORITHMS = {
    "local": {"name": "local"},
    "fused": {"name": "fused"},
    "pairwise": {"name": "layup", "mixing": "pairwise"},
    "push_sum": {"name": "layup", "mixing": "push_sum", "peer_per": "segment"},
    "push_sum in turn": {
        "name": "layup",
        "mixing": "push_sum",
        "topology": "one_peer_exponential",
    },
    "a2cid2": {"name": "a2cid2", "rate": 2.0, "topology": "ring"},
    "gosgd": {"name": "gosgd", "probability": 0.5},
    "ad_psgd": {"name": "ad_psgd"},
    "pd_asgd": {"name": "pd_asgd"},
    "hogwild": {"name": "hogwild"},
    "lap_sgd": {"name": "lap_sgd"},
    "lpp_sgd": {"name": "lpp_sgd"},
}
COLLECTIVES = {
    "ddp": {"name": "ddp"},
    "local_sgd": {"name": "local_sgd", "period": 2},
    "slowmo": {"name": "slowmo", "period": 2},
    "co2": {"name": "co2", "period": 2},
    "diloco": {"name": "diloco", "period": 2},
    "streaming_diloco": {"name": "streaming_diloco", "period": 4, "delay_steps": 1},
    "d_psgd": {"name": "d_psgd"},
    "sgp": {"name": "sgp"},
    "osgp": {"name": "osgp"},
}
ALGORITHMS |= COLLECTIVES


class Sink(list):
    """Keeps all lines, and may act on them."""

    def __init__(self, act=lambda line: None):
        super().__init__()
        self._act = act

    def write(self, line):
        self.append(line)
        self._act(line)

    def of(self, kind):
        return [line for line in self if isinstance(line, kind)]


def make_task(model=None, learning_rate=0.1, samples=40):
    test = tiny.features(samples, seed=99)
    return layup_jax.Task(model or tiny.mlp_model(), tiny.loss, optax.sgd(learning_rate), test)


def make_config(algorithm="pairwise", **changes):
    return {
        "batch_size": 8,
        "log_every_steps": 1,
        "partition": "layer",
        "stop": {"steps": 6},
        "evaluation": {"every_steps": 3},
        "strategy": ALGORITHMS[algorithm],
    } | changes


def endless_batches(rank, num_workers):
    """Endless batches, different for each rank."""
    return (tiny.features(seed=num_workers * turn + rank) for turn in itertools.count())


def make_arrays(samples=64):
    return tuple(tiny.features(samples))


def flat(model):
    return np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(model)])
