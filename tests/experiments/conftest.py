"""Results as the experiments write them, made up."""

import pytest

_ENVIRONMENT = {
    "started": "2026-01-02T03:04:05+00:00",
    "seed": 0,
    "python": "3.11.7",
    "platform": "Linux",
    "processors": 2,
    "versions": {"jax": "0.10.2", "flax": "0.12.8", "mpi4jax": "0.9.1", "openmpi": "5.0.11"},
    "git_commit": None,
    "git_dirty": None,
    "cpu": "Some CPU",
    "smoke": False,
    "seconds": 600.0,
}


@pytest.fixture
def environment():
    return dict(_ENVIRONMENT)


@pytest.fixture
def printed():
    """(compiled, steps): what the processes of one case of step_overhead print."""
    bound = {
        "layer": [0.012, 0.024, 0.012],
        "model": [0.010, 0.020, 0.012],
        "auto": [0.011, 0.020, 0.012],
        "narrow_layer": [0.0012, 0.0012, 0.0012],
        "narrow_model": [0.0002, 0.0002, 0.0002],
    }
    unbound = {"layer": [0.008] * 3, "model": [0.005] * 3, "auto": [0.006] * 3}
    chosen = {
        "segments": {"layer": 12, "model": 1, "auto": 3},
        "partitions": {"layer": "layer", "model": "model", "auto": "auto: 3 segments"},
    }
    steps = {"bound": {"rounds": bound, **chosen}, "unbound": {"rounds": unbound, **chosen}}
    return {"layer": 2.0, "model": 3.0}, steps
