"""The interleaved schedule: order, staleness, live updates, and losses that are not finite."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny

from layup_jax.clock import WallClock
from layup_jax.engine.engine import Engine, Moment
from layup_jax.errors import NonFiniteError
from layup_jax.models import LayeredModel
from layup_jax.pipeline.base import Parts, Work
from layup_jax.pipeline.interleaved import Interleaved
from layup_jax.store import ParameterStore
from layup_jax.strategies import Local
from layup_jax.types import SegmentUpdated

LAYERS = tuple((i, i + 1) for i in range(4))


def _engine(model, partition):
    return Engine(model, partition, tiny.loss, Local(tiny.sgd()))


@functools.cache
def _shared_engine(partition):
    """Engines hold no training state, so the tests share what is compiled."""
    return _engine(tiny.normed_model(), partition)


class Bench:
    """A pipeline on a store, and everything it announced."""

    def __init__(self, engine=None, partition=LAYERS, meanwhile=None, store=ParameterStore):
        self.engine = engine or _shared_engine(partition)
        self.store = store(self.engine.init())
        self.events = []
        self._meanwhile = meanwhile or {}
        self.pipeline = Interleaved(Parts(self.engine, self.store, WallClock(), self._announced))

    def _announced(self, event):
        self.events.append(event)
        for segment in self._meanwhile.get(event.segment, ()):
            self.store.update(segment, lambda state: (moved(state), None))

    def train(self, steps, batch=None):
        return [
            self.pipeline.step(Work(batch or tiny.features(seed=step), Moment(0, 0, step)))
            for step in range(steps)
        ]


class Synchronous(ParameterStore):
    """Every update is computed before it returns, as with synchronous dispatch."""

    def update(self, segment, write):
        return jax.block_until_ready(super().update(segment, write))


def moved(state):
    return state._replace(params=jax.tree.map(lambda leaf: leaf + 1, state.params))


def test_segments_are_updated_from_the_last_to_the_first():
    bench = Bench()
    bench.train(2)
    assert bench.events == [SegmentUpdated(i, step) for step in range(2) for i in (3, 2, 1, 0)]
    assert [bench.store.read(i).version for i in range(4)] == [2] * 4


def test_a_segment_is_updated_when_it_is_announced():
    bench, versions = Bench(), []
    bench.pipeline = Interleaved(
        Parts(
            bench.engine,
            bench.store,
            WallClock(),
            lambda event: versions.append([bench.store.read(i).version for i in range(4)]),
        )
    )
    bench.train(1)
    assert versions == [[0, 0, 0, 1], [0, 0, 1, 1], [0, 1, 1, 1], [1, 1, 1, 1]]


def test_a_model_of_one_segment_is_one_compiled_call(compilations):
    bench = Bench(_engine(tiny.normed_model(), ((0, 4),)))
    with compilations() as compiled:
        bench.train(3)
    assert compiled.count("jit(_turn)") == 1
    assert not {"jit(_forward)", "jit(_backward)"} & set(compiled)


def test_a_second_step_compiles_nothing(compilations):
    bench = Bench()
    bench.train(1)
    with compilations() as compiled:
        bench.train(2)
    assert compiled == []


def test_staleness_counts_what_others_wrote_in_between():
    bench = Bench(meanwhile={3: (0, 0, 3), 2: (0, 1), 1: (2,)})
    results = bench.train(2)
    # The last segment is read where it is updated; what came after the own update is not stale.
    assert [result.staleness for result in results] == [(3, 1, 0, 0)] * 2
    assert Bench().train(1)[0].staleness == (0, 0, 0, 0)


def test_the_gradient_of_the_forward_pass_is_applied_to_the_live_parameters():
    """A received message is neither lost nor does it change the gradient under way."""
    alone, disturbed = Bench(), Bench(meanwhile={3: (0, 1, 2)})
    before = alone.engine.init()
    for bench in (alone, disturbed):
        bench.train(1)
    for segment in range(3):
        expected = moved(alone.store.read(segment).state)
        jax.tree.map(
            lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-6),
            disturbed.store.read(segment).state,
            expected,
        )
        changed = jax.tree.map(
            lambda a, b: bool(np.any(a != b)),
            alone.store.read(segment).state.params,
            before[segment].params,
        )
        assert any(jax.tree.leaves(changed))


def test_the_next_forward_pass_reads_what_arrived():
    alone, disturbed = Bench(), Bench(meanwhile={0: (2,)})
    (_, calm), (_, shaken) = alone.train(2), disturbed.train(2)
    assert float(calm.loss) != float(shaken.loss)


def test_the_model_state_is_that_of_this_step():
    bench = Bench()
    bench.train(1)
    segment, batch = bench.engine.segments[0], tiny.features(seed=0)
    _, expected = segment.apply(*segment.init(), batch.inputs, jax.random.key(0), training=True)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6),
        bench.store.read(0).state.model_state,
        expected,
    )


def _refused(bench, batch, steps):
    """The message of the error that must come, on the step or when the next one begins."""
    with pytest.raises(NonFiniteError) as caught:
        for step in range(steps):
            bench.pipeline.step(Work(batch(step), Moment(0, 0, step)))
        bench.pipeline.finish()
    return str(caught.value)


def _with_nan_at(bad_step):
    def batch(step):
        batch = tiny.features(seed=step)
        if step == bad_step:
            batch.inputs[0, 0] = np.nan
        return batch

    return batch


@pytest.mark.parametrize("partition", [LAYERS, ((0, 2), (2, 4))])
@pytest.mark.parametrize(("bad", "steps"), [(0, 1), (2, 3), (2, 5)])
def test_a_loss_that_is_not_finite_names_step_and_segment(partition, bad, steps):
    bench = Bench(partition=partition)
    message = _refused(bench, _with_nan_at(bad), steps)
    name = bench.engine.segments[0].name
    assert message == (
        f"the loss must be finite, got nan at step {bad}, first non-finite in segment 0 ({name}); "
        "lower the learning rate, clip gradients, or look at that step's inputs and labels"
    )


def test_a_model_of_one_segment_names_that():
    message = _refused(Bench(partition=((0, 4),)), _with_nan_at(1), 3)
    assert "at step 1, first non-finite in segment 0 (00-Normed..03-Linear)" in message


def test_names_the_segment_that_overflows_first():
    """Where the loss is known at once, the activations tell."""

    def overflowing(x):
        return jnp.where(x > 1e3, jnp.inf, x)

    layers = [lambda x: x, jnp.abs, overflowing, *tiny.mlp_model(2).layers]
    engine = _engine(LayeredModel(layers), [(i, i + 1) for i in range(5)])
    batch = tiny.features()
    batch.inputs[0, 0] = 1e4
    with pytest.raises(NonFiniteError, match=r"step 0, first non-finite in segment 2 \(02-overfl"):
        Bench(engine, store=Synchronous).pipeline.step(Work(batch, Moment(0, 0, 0)))


def test_finishing_without_a_step_is_fine():
    Bench().pipeline.finish()
