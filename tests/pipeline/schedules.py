"""What tests of schedules share: a model whose gradients are constant, engines that can be held up."""

import itertools
import threading

import jax.numpy as jnp
import numpy as np
import optax
import tiny
from flax import nnx

from layup_jax.clock import WallClock
from layup_jax.data import Batch
from layup_jax.engine.engine import Engine, Moment
from layup_jax.engine.recording import Recording
from layup_jax.models import LayeredModel
from layup_jax.pipeline.base import Parts, Work
from layup_jax.pipeline.decoupled import Decoupled, DecoupledOptions
from layup_jax.pipeline.interleaved import Interleaved
from layup_jax.pipeline.ratio import Ratio
from layup_jax.pipeline.shared import Shared, SharedOptions
from layup_jax.store import ParameterStore
from layup_jax.strategies import Local

WAIT_SECONDS = 30.0
SLOPES = np.array([1.0, -2.0, 0.5], np.float32)


class Slope(nnx.Module):
    """Adds slopes . w: whatever was read, the gradient of the mean output is `slopes`."""

    def __init__(self):
        self.w = nnx.Param(jnp.zeros(3))

    def __call__(self, outputs):
        return outputs + jnp.dot(self.w[...], jnp.asarray(SLOPES))


def sloping_model(depth=3):
    return LayeredModel([Slope() for _ in range(depth)])


def mean_output(outputs, batch):
    del batch
    return jnp.mean(outputs)


def ones():
    return Batch(np.ones(4, np.float32), np.zeros(4, np.int32))


def layers_of(model):
    return [(index, index + 1) for index in range(len(model))]


def sloping_engine(optimizer=None, depth=3):
    model = sloping_model(depth)
    strategy = Local(optimizer or optax.sgd(0.25))
    return Engine(model, layers_of(model), mean_output, strategy)


def tiny_engine(partition="layer", dropout=0.5, kind=Engine, model=None):
    model = model or tiny.normed_model(dropout=dropout)
    cut = layers_of(model) if partition == "layer" else [(0, len(model))]
    return kind(model, cut, tiny.loss, Local(optax.sgd(0.1, momentum=0.9)))


def _held(name):
    def run(self, *arguments):
        assert self.go.wait(WAIT_SECONDS)
        return getattr(Engine, name)(self, *arguments)

    return run


def _counted(name):
    def run(self, segment, *arguments):
        result = getattr(Engine, name)(self, segment, *arguments)
        if segment == len(self) - 1:
            self.forwards.release()
        return result

    return run


class HeldEngine(Engine):
    """Backward passes wait until `go` is set; `forwards` counts the forward passes that are complete."""

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.go = threading.Event()
        self.forwards = threading.Semaphore(0)

    forward, advance = _counted("forward"), _counted("advance")
    gradient, gradient_at = _held("gradient"), _held("gradient_at")
    backward, backward_at = _held("backward"), _held("backward_at")


class Bench:
    """A pipeline on a store of its own, with a recording."""

    def __init__(self, engine, make, rank=0, **parts):
        self.engine = engine
        self.events = []
        self.store = ParameterStore(engine.init())
        self.recording = Recording()
        self.parts = Parts(
            engine,
            self.store,
            WallClock(),
            self.events.append,
            rank=rank,
            recording=self.recording,
            **parts,
        )
        self.pipeline = make(self.parts)

    def works(self, count, batch=None, first=0):
        for step in range(first, first + count):
            yield Work(batch or tiny.features(seed=step), Moment(0, self.parts.rank, step))

    def train(self, count, batch=None, first=0):
        return list(self.pipeline.run(self.works(count, batch, first)))

    def params(self):
        return [state.params for state in self.store.snapshot()]


def decoupled(forward=1, backward=2, queue=2, **options):
    ratio = Ratio(forward, backward, queue)
    return lambda parts: Decoupled(parts, DecoupledOptions(ratio, **options))


def shared(threads=3, **options):
    return lambda parts: Shared(parts, SharedOptions(threads, **options))


SCHEDULES = {
    "interleaved": Interleaved,
    "decoupled 1:1": decoupled(1, 1, 1),
    "decoupled 1:2": decoupled(1, 2, 1),
    "decoupled 3:2": decoupled(3, 2, 4),
    "decoupled live": decoupled(2, 2, 2, weights="live"),
    "shared": shared(3, own_momentum=False),
    "own momentum": shared(2),
    "partial": shared(2, partial_from=2),
}


def endless_features():
    return (tiny.features(seed=step) for step in itertools.count())
