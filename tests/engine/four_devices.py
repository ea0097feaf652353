"""What `test_sharding.py` runs in a process with four devices: each function here is a test."""

import itertools
import warnings

import jax
import numpy as np
import optax
import pytest
import tiny
from flax import nnx
from local_runs import endless_batches, flat, make_config, make_task
from schedules import Bench, decoupled

import layup_jax
from layup_jax.clock import WallClock
from layup_jax.draws import Draws
from layup_jax.engine.engine import Engine, Moment
from layup_jax.engine.numerics import Numerics
from layup_jax.engine.port import Port
from layup_jax.engine.recording import digest
from layup_jax.engine.replay import Replay
from layup_jax.engine.sharding import ONE_DEVICE, local_meshes, own_mesh
from layup_jax.errors import ConfigError
from layup_jax.models import LayeredModel
from layup_jax.pipeline.base import Work
from layup_jax.pipeline.interleaved import Interleaved
from layup_jax.store import ParameterStore
from layup_jax.strategies import LayUpOptions, Local, layup
from layup_jax.topology import complete


def make_engine(model, mesh, strategy=None):
    strategy = strategy or Local(optax.sgd(0.1, momentum=0.9))
    cut = [(0, 1), (1, len(model))]
    return Engine(model, cut, tiny.loss, strategy, numerics=Numerics(mesh=mesh))


def model_with_everything():
    """Batch statistics, dropout, and two layers that share a matrix."""
    rngs = nnx.Rngs(0)
    layers = [tiny.Normed(4, 4, rngs=rngs), nnx.Linear(4, 4, rngs=rngs)]
    layers.append(nnx.Linear(4, tiny.NUM_CLASSES, rngs=rngs))
    return LayeredModel(layers, tied={"1.kernel": "0.linear.kernel"})


def works(mesh, start, stop):
    for step in range(start, stop):
        yield Work(mesh.sharded(tiny.features(seed=step)), Moment(0, 0, step))


def devices_of(mesh):
    return mesh.replicated(np.zeros(1)).sharding.device_set


def assert_copies(states):
    """A copy on each device, and all copies the same."""
    for leaf in jax.tree.leaves(states):
        assert leaf.sharding.device_set == set(jax.local_devices())
        assert leaf.is_fully_replicated
        for shard in leaf.addressable_shards:
            np.testing.assert_array_equal(shard.data, leaf.addressable_data(0))


def training_is_that_of_one_device(mesh):
    model = model_with_everything()
    engines = make_engine(model, ONE_DEVICE), make_engine(model, mesh)
    for schedule in (Interleaved, decoupled(3, 3, 3)):
        benches = [Bench(engine, schedule) for engine in engines]
        momenta = [state.opt_state for state in benches[1].store.snapshot()]
        results = []
        for bench in benches:
            losses = [
                float(result.loss)
                for work in works(bench.engine.mesh, 0, 3)  # one at a time: nothing is stale
                for result in bench.pipeline.run([work])
            ]
            states = bench.store.snapshot()
            results.append((losses, [(state.params, state.model_state) for state in states]))
            assert int(bench.store.read(0).version) == 3
        # Sums in another order.
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6), *results)
        assert_copies(benches[1].store.snapshot())
        assert all(leaf.is_deleted() for leaf in jax.tree.leaves(momenta)), "donated"
        threads_go_on_and_are_replayed(benches[1])
        benches[0].pipeline.close()
    activations_lie_in_parts(engines[1])


def threads_go_on_and_are_replayed(bench):
    mesh = bench.engine.mesh
    assert len(list(bench.pipeline.run(works(mesh, 3, 40)))) == 37
    bench.pipeline.close()
    batches = (mesh.sharded(tiny.features(seed=step)) for step in itertools.count())
    states = Replay(bench.engine, bench.recording, Draws(0, 0)).run(batches)
    assert digest(states) == digest(bench.store.snapshot())


def activations_lie_in_parts(engine):
    states, batch = engine.init(), engine.mesh.sharded(tiny.features(samples=8))
    _, passed = engine.forward(0, states[0], batch.inputs, batch, Moment(0, 0, 0))
    shards = passed.outputs.values.addressable_shards
    assert [shard.data.shape for shard in shards] == [(2, 4)] * 4


def a_message_is_one_copy_and_is_merged_into_all(mesh):
    strategy = layup(tiny.sgd(), complete(2), LayUpOptions("push_sum"))
    engine = make_engine(tiny.mlp_model(), mesh, strategy)
    store = ParameterStore(engine.init())
    port = Port(store, engine.wire, WallClock())
    for give in (port.outgoing, port.contribution):
        assert give(1).sharding.device_set == {jax.local_devices()[0]}
    vector = port.outgoing(1)
    assert vector.shape == (port.shapes[1].size,)
    before = store.read(1).state
    port.incoming(1, None, 2 * np.asarray(vector))
    port.average(0, port.contribution(0))
    assert float(store.read(1).state.mixing) == 3 * float(before.mixing)
    assert_copies(store.snapshot())


def workers_of_one_process_take_devices_in_turn():
    first, second = (devices_of(mesh) for mesh in local_meshes(2, 2))
    assert first | second == set(jax.local_devices())
    assert devices_of(own_mesh(2, local_rank=1, local_size=2)) == second
    assert devices_of(own_mesh(2, local_rank=1, local_size=3)) == first  # not enough for all three
    task = make_task(tiny.mlp_model(depth=2))
    config = make_config(local_devices=2, partition="auto", stop={"steps": 12})
    run = layup_jax.run_local(task, endless_batches, num_workers=2, config=config)
    assert run.summary.messages_sent > 0
    assert np.isfinite(flat(run.model)).all()


def what_cannot_be_shared_is_one_sentence():
    for workers, devices, sentence in (
        (3, 2, "3 workers with config.local_devices 2 must have 6 devices in this process, got 4"),
        (
            1,
            3,
            "must be divisible by config.local_devices, 3, got 8 samples; change config.batch_s",
        ),
    ):
        config = make_config(local_devices=devices)
        with pytest.raises(ConfigError, match=sentence):
            layup_jax.run_local(make_task(), endless_batches, num_workers=workers, config=config)


if __name__ == "__main__":
    jax.config.update("jax_numpy_rank_promotion", "raise")
    warnings.simplefilter("error")
    training_is_that_of_one_device(own_mesh(4))
    a_message_is_one_copy_and_is_merged_into_all(own_mesh(4))
    workers_of_one_process_take_devices_in_turn()
    what_cannot_be_shared_is_one_sentence()
    print("all well")
