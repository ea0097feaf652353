"""A backward thread that is too slow, for ten minutes: memory stays where it is."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
MINUTES = 10
PROGRAM = """
import json, sys, time
import numpy as np
import tiny
from schedules import Bench, decoupled
from layup_jax.engine.engine import Engine
from layup_jax.host import prepare_host
prepare_host("none", 0, 1)
import jax, optax
from layup_jax.models import mlp
from layup_jax.pauses import Pauses
from layup_jax.pipeline.delays import Delays
from layup_jax.strategies import Local

PAGE = 4096
def resident():
    return int(open("/proc/self/statm").read().split()[1]) * PAGE

model = mlp((64,), 3, width=256, depth=6)
cut = [(i, i + 1) for i in range(len(model))]
engine = Engine(model, cut, tiny.loss, Local(optax.sgd(1e-3, momentum=0.9)))
bench = Bench(engine, decoupled(2, 2, 4), delays=Delays(backward=Pauses(0.005)))
bench.parts.recording.add = lambda event: None  # a recording grows, and is meant to
batch = tiny.features(256, shape=(64,))
seconds, sizes, start, step = float(sys.argv[1]), [], time.monotonic(), 0
while time.monotonic() - start < seconds:
    step += len(bench.train(200, batch, first=step))
    bench.events.clear()
    sizes.append((time.monotonic() - start, resident()))
statistics = bench.pipeline.statistics()
bench.pipeline.close()
print(json.dumps({
    "steps": step,
    "sizes": sizes,
    "tapes": statistics.tapes_alive_max,
    "full_seconds": statistics.queue.full_seconds,
}))
"""


def _soak(seconds):
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(seconds)],
        env={"PYTHONPATH": f"{TESTS}:{TESTS / 'pipeline'}:{TESTS.parent}", "JAX_PLATFORMS": "cpu"},
        capture_output=True,
        text=True,
        timeout=seconds + 90,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_a_few_seconds():
    found = _soak(5)
    assert found["tapes"] <= 4 + 2
    assert found["full_seconds"] > 0


@pytest.mark.slow
@pytest.mark.timeout(60 * MINUTES + 120)
def test_ten_minutes():
    """Resident memory is flat to 2 % once the first minute has warmed everything."""
    found = _soak(60 * MINUTES)
    settled = [size for seconds, size in found["sizes"] if seconds > 60]
    assert found["tapes"] <= 4 + 2
    assert max(settled) <= 1.02 * settled[0]
    print(f"{found['steps']} steps, {settled[0] / 1e6:.1f} to {max(settled) / 1e6:.1f} MB")
