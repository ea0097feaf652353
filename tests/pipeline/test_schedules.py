"""What holds for every schedule: nothing is lost, nothing is left, any failure is everybody's."""

import gc
import threading
import weakref

import jax
import numpy as np
import optax
import pytest
import tiny
from schedules import SCHEDULES, SLOPES, Bench, decoupled, ones, shared, sloping_engine, tiny_engine

from layup_jax.engine import carried
from layup_jax.engine.engine import Engine, Tape
from layup_jax.errors import NonFiniteError, PipelineError
from layup_jax.pauses import Pauses
from layup_jax.pipeline.delays import Delays
from layup_jax.store import ParameterStore

THREADED = [name for name in SCHEDULES if name != "interleaved"]
WHOLE = [name for name in SCHEDULES if name != "partial"]


@pytest.fixture(autouse=True)
def no_thread_is_left():
    yield
    left = [each.name for each in threading.enumerate() if each.name.startswith("layup-")]
    assert left == []


@pytest.fixture(scope="module")
def slopes():
    return sloping_engine()


@pytest.fixture(scope="module")
def normed():
    return tiny_engine()


@pytest.mark.parametrize("name", WHOLE)
def test_no_update_is_lost(slopes, name):
    """The gradient is the same wherever it is taken, so the end is known whatever happens meanwhile."""
    bench = Bench(slopes, SCHEDULES[name])
    results = bench.train(40, ones())
    bench.pipeline.close()
    assert len(results) == 40
    assert [bench.store.read(segment).version for segment in range(3)] == [40] * 3
    for params in bench.params():
        np.testing.assert_allclose(params[0]["w"], -0.25 * 40 * SLOPES, rtol=1e-6)


@pytest.mark.parametrize("name", SCHEDULES)
def test_every_step_comes_out_once_and_every_update_is_announced(normed, name):
    bench = Bench(normed, SCHEDULES[name])
    first, second = bench.train(7), bench.train(5, first=7)
    statistics = bench.pipeline.statistics()
    bench.pipeline.close()
    bench.pipeline.close()
    assert [len(first), len(second)] == [7, 5]
    assert all(result.samples == 8 for result in (*first, *second))
    writes = [each for each in bench.recording.events if each.version < 0]
    assert len(bench.events) == len(writes)
    assert statistics.store_seconds >= 0
    if name in THREADED:
        assert statistics.times.forward_seconds > 0
        assert statistics.times.backward_seconds > 0


@pytest.mark.parametrize("name", WHOLE)
@pytest.mark.parametrize("partition", ["layer", "model"])
def test_one_step_at_a_time_is_plain_training(name, partition):
    """Nothing is stale then, so every schedule does what the interleaved one does."""
    optimizer = optax.sgd(0.1)
    engine = Engine(tiny.normed_model(), _cut(partition), tiny.loss, _local(optimizer))
    plain, other = Bench(engine, SCHEDULES["interleaved"]), Bench(engine, SCHEDULES[name])
    for step in range(4):
        (expected,), (found,) = plain.train(1, first=step), other.train(1, first=step)
        np.testing.assert_allclose(found.loss, expected.loss, rtol=1e-6)
        assert {*found.staleness} == {0}
    other.pipeline.close()
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6),
        other.store.snapshot(),
        plain.store.snapshot(),
    )


def _cut(partition):
    return ((0, 4),) if partition == "model" else tuple((i, i + 1) for i in range(4))


def _local(optimizer):
    from layup_jax.strategies import Local

    return Local(optimizer)


@pytest.mark.parametrize("name", SCHEDULES)
def test_warming_up_compiles_all_there_is(name, compilations):
    bench = Bench(tiny_engine(), SCHEDULES[name])
    work = next(bench.works(1))
    bench.pipeline.warm_up(work)
    carried.warm_up(bench.store.snapshot())  # as a worker does
    assert bench.events == []
    assert bench.recording.events == []
    bench.store.restart(bench.engine.init())
    with compilations() as compiled:
        bench.train(12)
    bench.pipeline.close()
    assert compiled == []


class Failing(Engine):
    """Fails in one of its functions at one step."""

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.where, self.at = "", -1
        self.error: BaseException = RuntimeError("broken")

    def _maybe(self, where):
        if where == self.where:
            self.at -= 1
            if self.at < 0:
                raise self.error

    def forward(self, segment, *arguments):
        self._maybe("forward")
        return super().forward(segment, *arguments)

    def backward(self, segment, *arguments):
        self._maybe("backward")
        return super().backward(segment, *arguments)


@pytest.mark.parametrize("role", ["forward", "backward"])
@pytest.mark.parametrize("name", ["decoupled 1:1", "decoupled 1:2", "decoupled 3:2", "shared"])
def test_an_exception_in_any_thread_ends_all_and_says_where(name, role):
    engine = tiny_engine(kind=Failing)
    engine.where, engine.at = role, 4 * 5
    bench = Bench(engine, SCHEDULES[name], rank=3)
    thread = "compute" if name == "shared" else role
    with pytest.raises(
        PipelineError,
        match=rf"^thread layup-{thread}-3-\d of worker 3 at step \d+ failed: RuntimeError: broken$",
    ) as caught:
        bench.train(1000)
    assert isinstance(caught.value.__cause__, RuntimeError)
    bench.pipeline.close()


@pytest.mark.parametrize("name", THREADED)
def test_a_loss_that_is_not_finite_names_step_segment_and_thread(normed, name):
    bench = Bench(normed, SCHEDULES[name])

    def works():
        for work in bench.works(1000):
            if work.moment.step == 6:
                work.batch.inputs[0, 0] = np.nan
            yield work

    with pytest.raises(
        NonFiniteError, match=r"got nan at step 6, first non-finite in segment 0"
    ) as e:
        list(bench.pipeline.run(works()))
    assert "(thread layup-" in str(e.value)
    assert "of worker 0 at step 6)" in str(e.value)
    bench.pipeline.close()


@pytest.mark.parametrize("name", SCHEDULES)
def test_an_exception_of_who_gives_works_comes_through(normed, name):
    bench = Bench(normed, SCHEDULES[name])

    def works():
        yield from bench.works(3)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        list(bench.pipeline.run(works()))
    bench.pipeline.close()


@pytest.mark.parametrize("name", THREADED)
def test_closing_in_the_middle_ends_all_threads(normed, name):
    bench = Bench(normed, SCHEDULES[name])
    results = bench.pipeline.run(bench.works(1000))
    for _ in range(3):
        next(results)
    bench.pipeline.close()


def _tapes():
    gc.collect()
    return sum(isinstance(each, Tape) for each in gc.get_objects())


@pytest.mark.parametrize(("forward", "backward", "queue"), [(1, 1, 1), (3, 1, 2), (2, 2, 4)])
def test_a_slow_backward_thread_keeps_no_more_tapes_than_it_may(normed, forward, backward, queue):
    delays = Delays(backward=Pauses(0.02))
    make = decoupled(forward, backward, queue)
    bench = Bench(normed, make, delays=delays)
    gc.freeze()  # what is there already is not looked through for every step
    try:
        alive = [_tapes() for _ in bench.pipeline.run(bench.works(25))]
    finally:
        gc.unfreeze()
    statistics = bench.pipeline.statistics()
    bench.pipeline.close()
    assert max(alive) <= queue + backward
    assert 1 <= statistics.tapes_alive_max <= queue + backward
    assert statistics.queue.depth_max <= queue
    assert statistics.queue.full_seconds > 0


class Weighed(Engine):
    """Counts, when a backward call begins, what forward calls have left and what still exists of it."""

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.counts, self.left, self.alive = [], [], []

    def forward(self, segment, *arguments):
        model_state, passed = super().forward(segment, *arguments)
        arrays = jax.tree.leaves(passed.residuals)
        self.counts.append(len(arrays))
        self.left += map(weakref.ref, arrays)
        return model_state, passed

    def backward(self, segment, *arguments):
        self.alive.append(sum(each() is not None for each in self.left))
        return super().backward(segment, *arguments)


@pytest.mark.parametrize("name", ["interleaved", "decoupled 1:1", "shared", "own momentum"])
def test_what_a_backward_pass_has_used_is_freed_at_once(name):
    bench = Bench(tiny_engine(kind=Weighed), SCHEDULES[name])
    bench.train(1)
    bench.pipeline.close()
    counts = bench.engine.counts
    assert min(counts) > 0
    assert bench.engine.alive == [sum(counts[: end + 1]) for end in reversed(range(len(counts)))]


class Contended(ParameterStore):
    """Counts writers inside of each slot."""

    def __init__(self, states):
        super().__init__(states)
        self.inside = [0] * len(self)
        self.most = 0

    def update(self, segment, write):
        def counted(state):
            self.inside[segment] += 1
            self.most = max(self.most, self.inside[segment])
            result = write(state)
            self.inside[segment] -= 1
            return result

        return super().update(segment, counted)


@pytest.mark.parametrize("make", [decoupled(2, 3, 3), shared(4)])
def test_one_writer_at_a_time(slopes, make):
    bench = Bench(slopes, make)
    bench.store = Contended(slopes.init())
    bench.pipeline = make(bench.parts._replace(store=bench.store))
    bench.train(60, ones())
    bench.pipeline.close()
    assert bench.store.most == 1
