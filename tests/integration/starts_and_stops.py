"""Under mpirun: many short runs in one job, with random step counts and delays for every worker.

Arguments: mixing, how many runs, seed. Each run starts and ends its own communication thread over one
MPI transport; afterwards the push-sum weights must sum to the number of workers and the mean model be
finite.
"""

import random
import sys
import time

import jax
import numpy as np
import optax

from layup_jax.config import validated
from layup_jax.data import Batch
from layup_jax.host import local_place, prepare_host
from layup_jax.losses import cross_entropy
from layup_jax.models import mlp, partition_layers
from layup_jax.run import Chosen, prepare, train
from layup_jax.task import Task
from layup_jax.transport.mpi import MpiTransport


def batches(rank, delays):
    """Endless random batches, each after a random delay of up to a few milliseconds."""
    draws = np.random.default_rng(rank)
    while True:
        time.sleep(delays.random() * 0.004)
        yield Batch(draws.random((8, 16), np.float32), draws.integers(0, 4, 8).astype(np.int32))


def main(mixing, times, seed):
    """Runs `times` runs; rank 0 says so at the end."""
    place = local_place()
    prepare_host("auto", place.rank, place.size)
    task = Task(mlp((16,), 4, width=16, depth=4), cross_entropy, optax.sgd(0.05))
    chosen = Chosen(partition_layers("layer", [1] * 4), "layer")
    plane = "host" if mixing == "push_sum" else "mpi4jax"
    transport = MpiTransport(plane)
    draws = random.Random(f"{seed}-{transport.rank}")
    settings = {"strategy": {"mixing": mixing}, "transport": {"data_plane": plane}}
    prepared = prepare(task, validated(settings), chosen, transport.size)
    for number in range(times):
        settings["stop"] = {"steps": draws.randrange(1, 40)}
        settings["seed"] = number
        loader = batches(transport.rank, draws)
        run = train(prepared, validated(settings), transport, loader)
        if run.error is not None:
            raise run.error
        assert run.summary.push_sum_weight_error <= 1e-5, run.summary
        leaves = jax.tree.leaves(run.model.params)
        assert all(np.isfinite(leaf).all() for leaf in leaves), f"run {number}"
    if transport.rank == 0:
        print(f"{times} runs ended", flush=True)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
