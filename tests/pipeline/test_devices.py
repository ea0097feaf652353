"""Forward and backward threads on devices of their own, of which a process with four stands for any."""

import jax
import pytest
from processes import printed_with_four_devices

from layup_jax.errors import ConfigError
from layup_jax.pipeline.devices import Placement

PROGRAM = """
import jax, numpy as np
import tiny
from schedules import Bench, decoupled, endless_features, tiny_engine
from layup_jax.draws import Draws
from layup_jax.engine.recording import digest
from layup_jax.engine.replay import Replay
from layup_jax.pipeline.devices import Placement

assert len(jax.local_devices()) == 4
for partition, weights in (("layer", "stored"), ("model", "live")):
    engine = tiny_engine(partition)
    plain = Bench(engine, decoupled(1, 1, 1, weights=weights))
    placed = Bench(
        engine, decoupled(2, 2, 2, weights=weights, placement=Placement((1, 2), (3, 0)))
    )
    placed.pipeline.warm_up(next(placed.works(1)))
    placed.store.restart(engine.init())
    for step in range(3):
        plain.train(1, first=step)
        placed.train(1, first=step)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6),
        placed.params(), plain.params(),
    )
    placed.train(20, first=3)
    home = {leaf.device for leaf in jax.tree.leaves(placed.params())}
    assert home == {jax.local_devices()[3]}, home
    states = Replay(engine, placed.recording, Draws(0, 0)).run(endless_features())
    assert digest(states) == digest(placed.store.snapshot())
    plain.pipeline.close()
    placed.pipeline.close()
print("placed")
"""


def test_four_devices():
    assert printed_with_four_devices("-c", PROGRAM) == "placed\n"


def test_without_devices_everything_stays_where_it_is():
    placement, tree = Placement(), {"x": jax.numpy.ones(2)}
    assert not placement.is_set
    assert placement.num_devices == 1
    assert placement.forward_device(3) is None
    assert placement.moved(tree, None) is tree
    assert placement.at_home(tree) is tree


@pytest.mark.parametrize(
    ("forward", "backward", "sentence"),
    [
        ((0,), (), "go together, got [0] and []; set both or none"),
        ((), (0,), "go together, got [] and [0]; set both or none"),
        ((99,), (0,), "forward_devices must be among the 1 local devices, 0 to 0, got 99"),
        ((0,), (-1,), "backward_devices must be among the 1 local devices, 0 to 0, got -1"),
    ],
)
def test_devices_that_are_not_there_are_one_sentence(forward, backward, sentence):
    with pytest.raises(ConfigError) as caught:
        Placement(forward, backward)
    assert sentence in str(caught.value)
