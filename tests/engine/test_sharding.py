"""Devices that share each batch, of which a process with four stands for any."""

from pathlib import Path

import jax.numpy as jnp
import pytest
from processes import printed_with_four_devices

from layup_jax.config import validated
from layup_jax.engine.sharding import ONE_DEVICE, check_divisible, local_meshes, own_mesh
from layup_jax.errors import ConfigError


def test_four_devices():
    program = Path(__file__).with_name("four_devices.py")
    assert printed_with_four_devices(program) == "all well\n"


def test_with_one_device_everything_stays_where_it_is():
    tree = {"x": jnp.ones(3)}
    assert local_meshes(2, 1) == [ONE_DEVICE] * 2
    assert own_mesh(1, 1, 2) is ONE_DEVICE
    for same in (ONE_DEVICE.sharded, ONE_DEVICE.replicated, ONE_DEVICE.single, ONE_DEVICE.pinned):
        assert same(tree) is tree


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: own_mesh(4), "1 worker with config.local_devices 4 must have 4 devices in this"),
        (lambda: local_meshes(2, 2), "2 workers with config.local_devices 2 must have 4 devices"),
        (lambda: local_meshes(2, 2), "got 1; lower it, or on CPUs set XLA_FLAGS=--xla_force_host_"),
        (lambda: check_divisible(30, 4), "divisible by config.local_devices, 4, got 30 samples"),
        (lambda: validated({"local_devices": 0}), "config.local_devices must be at least 1, got 0"),
        (
            lambda: validated({"local_devices": 2, "threads": {"backward_devices": (1,)}}),
            "got both; set config.local_devices to 1",
        ),
    ],
)
def test_devices_that_cannot_be_had_are_one_sentence(make, sentence):
    with pytest.raises(ConfigError) as caught:
        make()
    assert sentence in str(caught.value)
