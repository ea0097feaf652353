"""A model and data of one's own: trained by four threads of this process, or by MPI processes."""

import sys

import flax.nnx as nnx
import jax.numpy as jnp
import numpy as np
import optax

import layup_jax


class Residual(nnx.Module):
    def __init__(self, width, rngs):
        self.inner = nnx.Linear(width, 4 * width, rngs=rngs)
        self.outer = nnx.Linear(4 * width, width, rngs=rngs)

    def __call__(self, inputs):
        return inputs + self.outer(nnx.gelu(self.inner(inputs)))


def spirals(count, seed):
    random = np.random.default_rng(seed)
    labels, radius = random.integers(3, size=count), random.uniform(0.1, 1, count)
    angle = 4 * radius + labels * 2 * np.pi / 3 + random.normal(scale=0.1, size=count)
    points = np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)
    return points.astype(np.float32), labels.astype(np.int32)


def task():
    rngs = nnx.Rngs(0)
    blocks = [Residual(32, rngs) for _ in range(3)]
    model = [nnx.Linear(2, 32, rngs=rngs), *blocks, jnp.tanh, nnx.Linear(32, 3, rngs=rngs)]
    test = layup_jax.Batch(*spirals(1000, seed=1))
    layers = layup_jax.LayeredModel(model)
    return layup_jax.Task(layers, layup_jax.cross_entropy, optax.adam(3e-3), test)


if __name__ == "__main__":
    config = {"name": "spirals", "strategy": {"name": "layup"}, "stop": {"steps": 300}}
    if "--mpi" in sys.argv:
        run = layup_jax.run_mpi(task, spirals(6000, seed=0), config=config, overwrite=True)
    else:
        run = layup_jax.run_local(task(), spirals(6000, seed=0), num_workers=4, config=config)
    print(f"accuracy {run.summary.test_accuracy:.3f} with {run.summary.workers} workers")
