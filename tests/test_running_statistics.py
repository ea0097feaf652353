"""Running statistics of workers: each its own, gossiped with their segment, or made anew at the end."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny
from flax import nnx
from local_runs import Sink, endless_batches, make_config, make_task

import layup_jax
from layup_jax.config import StrategyConfig
from layup_jax.draws import Draws
from layup_jax.engine.recording import digest
from layup_jax.engine.replay import Replay
from layup_jax.engine.wire import Wire, WireOptions, updated
from layup_jax.metrics.records import EvaluationRecord
from layup_jax.models import LayeredModel
from layup_jax.run import Chosen, prepare
from layup_jax.strategies import LayUpOptions, Setup, layup, make_strategy
from layup_jax.topology import complete


def _run(
    algorithm,
    statistics,
    *,
    data=endless_batches,
    model=None,
    learning_rate=0.1,
    sinks=None,
    **changes,
):
    task = make_task(model or tiny.normed_model(dropout=0.0), learning_rate)
    config = make_config(algorithm, batch_statistics=statistics, **changes)
    return layup_jax.run_local(task, data, num_workers=2, config=config, sinks=sinks)


def _normalized(momentum=0.5):
    norm = nnx.BatchNorm(4, momentum=momentum, rngs=nnx.Rngs(0))
    return LayeredModel([norm, nnx.Linear(4, tiny.NUM_CLASSES, rngs=nnx.Rngs(1))])


def _state(params, mean, seen=0):
    strategy = layup(tiny.sgd(), complete(2), LayUpOptions())
    statistics = {"mean": jnp.full(2, mean), "seen": jnp.array(seen)}
    return strategy, strategy.init({"x": jnp.full(3, params)}, statistics)


def _applied(given, changed):
    return updated(given, changed, given)


def test_a_message_takes_them_along_and_both_have_the_mean():
    strategy, mine = _state(1.0, 2.0, seen=7)
    _, theirs = _state(5.0, 4.0, seen=9)
    wire = Wire(strategy, options=WireOptions(shares_statistics=True))
    mine, theirs = wire.given(mine), wire.given(theirs)
    assert mine.opt_state is None
    _, vector = wire.outgoing(theirs, 0.0)
    assert vector.size == wire.shape(mine).size == 5
    _, sent = wire.outgoing(mine, 0.0)
    after = _applied(mine, wire.incoming(mine, sent, np.asarray(vector), 0.0))
    np.testing.assert_array_equal(after.params["x"], np.full(3, 3.0))
    np.testing.assert_array_equal(after.model_state["mean"], np.full(2, 3.0))
    assert after.model_state["seen"] == 7


def test_a_message_without_them_is_the_parameters_alone():
    strategy, state = _state(1.0, 2.0)
    wire = Wire(strategy)
    given = wire.given(state)
    assert given.model_state is None
    assert wire.shape(given).size == 3


def test_an_average_replaces_them():
    strategy = make_strategy(Setup(StrategyConfig(name="local_sgd"), tiny.sgd(), 2))
    states = [
        strategy.init({"x": jnp.full(3, value)}, {"mean": jnp.full(2, 10 * value)})
        for value in (1.0, 3.0)
    ]
    wire = Wire(strategy, options=WireOptions(shares_statistics=True))
    given = [wire.given(state, with_optimizer=True) for state in states]
    total = sum(np.asarray(wire.contribution(each, 0.0)[1]) for each in given)
    after = _applied(given[0], wire.average(given[0], total, 0.0))
    np.testing.assert_array_equal(after.model_state["mean"], np.full(2, 20.0))


@pytest.mark.parametrize(("statistics", "equal"), [("local", False), ("gossip", True)])
def test_synchronous_workers_have_the_same_ones_only_where_they_are_sent(statistics, equal):
    sinks = {rank: [Sink()] for rank in range(2)}
    _run("ddp", statistics, sinks=sinks)
    losses = [sink.of(EvaluationRecord)[-1].test_loss for (sink,) in sinks.values()]
    assert (losses[0] == losses[1]) == equal


@pytest.mark.parametrize(
    ("algorithm", "pipeline"),
    [
        ("pairwise", "decoupled"),
        ("push_sum", "interleaved"),
        ("co2", "decoupled"),
        ("sgp", "interleaved"),
    ],
)
def test_a_run_that_sends_them_is_replayed_to_the_last_bit(algorithm, pipeline):
    model = tiny.normed_model()
    changes = {"record": True, "pipeline": pipeline, "seed": 3}
    recorded = _run(algorithm, "gossip", model=model, **changes).recorded
    config = layup_jax.validated(make_config(algorithm, batch_statistics="gossip", **changes))
    engine = prepare(make_task(model), config, Chosen(recorded.partition, "as recorded"), 2).engine
    states = Replay(engine, recorded.recording, Draws(3, 0)).run(endless_batches(0, 2))
    assert digest(states) == recorded.digest


def test_made_anew_they_are_those_of_the_data():
    """Of both workers' data, with the final parameters, whatever they were during the run."""
    batches = [tiny.features(64, seed=rank) for rank in range(2)]

    def same(rank, num_workers):
        del num_workers
        while True:
            yield batches[rank]

    run = _run("pairwise", "reestimate", data=same, model=_normalized(), stop={"steps": 2})
    statistics = run.model.model_states[0]
    means = np.mean([np.mean(each.inputs, axis=0) for each in batches], axis=0)
    variances = np.mean([np.var(each.inputs, axis=0) for each in batches], axis=0)
    found = [np.asarray(leaf) for leaf in jax.tree.leaves(statistics)]
    np.testing.assert_allclose(found, [means, variances], rtol=1e-5, atol=1e-6)


def test_the_result_is_evaluated_with_those_made_anew():
    """Nothing was learned and statistics hardly moved: what differs is the last evaluation."""
    model = _normalized(momentum=0.999)

    def far_off(rank, num_workers):
        for batch in endless_batches(rank, num_workers):
            yield batch._replace(inputs=100 * batch.inputs + 1000)

    kept, anew = (
        _run("local", statistics, data=far_off, model=model, learning_rate=0.0).summary
        for statistics in ("local", "reestimate")
    )
    assert kept.test_loss != anew.test_loss


def test_workers_that_have_none_are_as_before():
    final = {
        statistics: _run("local", statistics, model=tiny.mlp_model()).model.params
        for statistics in ("local", "gossip", "reestimate")
    }
    for statistics in ("gossip", "reestimate"):
        jax.tree.map(np.testing.assert_array_equal, final["local"], final[statistics])


def test_a_loader_that_ends_while_they_are_made_fails_the_run():
    def short(rank, num_workers):
        for step, batch in enumerate(endless_batches(rank, num_workers)):
            if step == 10:
                raise OSError("the disk is gone")
            yield batch

    with pytest.raises(OSError, match="the disk is gone"):
        _run("pairwise", "reestimate", data=short)
