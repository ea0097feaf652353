"""How a worker finds its place on a machine, its cores and its platform."""

import os

import jax
import pytest

from layup_jax import host
from layup_jax.host import (
    Place,
    bound_by_slurm,
    jax_platform,
    local_place,
    prepare_host,
    share_of_cores,
    share_of_gpus,
    visible_gpus,
)


@pytest.mark.parametrize(
    ("environ", "place"),
    [
        ({}, Place(0, 1)),
        ({"OMPI_COMM_WORLD_LOCAL_RANK": "2", "OMPI_COMM_WORLD_LOCAL_SIZE": "4"}, Place(2, 4)),
        (
            {
                "OMPI_COMM_WORLD_LOCAL_RANK": "0",
                "OMPI_COMM_WORLD_LOCAL_SIZE": "1",
                "OMPI_COMM_WORLD_RANK": "2",
                "OMPI_COMM_WORLD_SIZE": "3",
                "LAYUP_HOSTS": "virtual",
            },
            Place(2, 3),
        ),
        ({"MPI_LOCALRANKID": "1", "MPI_LOCALNRANKS": "2"}, Place(1, 2)),
        (
            {"SLURM_LOCALID": "0", "SLURM_STEP_TASKS_PER_NODE": "4(x2),1", "SLURM_NODEID": "2"},
            Place(0, 1),
        ),
        (
            {"SLURM_LOCALID": "3", "SLURM_STEP_TASKS_PER_NODE": "4(x2),1", "SLURM_NODEID": "1"},
            Place(3, 4),
        ),
    ],
)
def test_the_place_on_the_machine_is_found_in_the_environment(environ, place):
    assert local_place(environ) == place


def test_workers_get_equal_shares_of_the_cores_or_take_turns():
    assert [share_of_cores([0, 2, 4, 6], rank, 2) for rank in range(2)] == [(0, 2), (4, 6)]
    assert [share_of_cores([0, 1, 2], rank, 2) for rank in range(2)] == [(0,), (1,)]
    assert [share_of_cores([3, 5], rank, 5) for rank in range(5)] == [(3,), (5,), (3,), (5,), (3,)]


def test_the_platform_is_what_jax_will_choose():
    assert jax_platform({"JAX_PLATFORMS": "cpu"}) == "cpu"
    assert jax_platform({"JAX_PLATFORMS": "cuda,cpu"}) == "gpu"
    assert jax_platform({"JAX_PLATFORMS": "tpu"}) == "tpu"


def test_under_mpirun_the_binding_of_slurm_is_that_of_its_daemon():
    bound = {"SLURM_CPU_BIND_TYPE": "mask_cpu:"}
    assert bound_by_slurm(bound)
    assert not bound_by_slurm(bound | {"OMPI_COMM_WORLD_RANK": "0"})
    assert not bound_by_slurm({"SLURM_CPU_BIND_TYPE": "none"})


def test_workers_get_gpus_of_their_own_or_take_turns():
    four = ["4", "5", "6", "7"]
    assert [share_of_gpus(four, 2, rank) for rank in range(2)] == [("4", "5"), ("6", "7")]
    assert [share_of_gpus(["0", "1"], 1, rank) for rank in range(3)] == [("0",), ("1",), ("0",)]
    assert share_of_gpus(["0"], 4, 1) == ("0",)


def test_a_worker_beside_others_sees_its_gpu_only(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-a, GPU-b")
    monkeypatch.setattr(host, "jax_platform", lambda: "gpu")
    monkeypatch.setattr(host, "_tune_malloc", lambda: True)
    alone = prepare_host("auto", 0, 1)
    assert (alone.gpus, alone.malloc_tuned) == (None, False)
    assert visible_gpus() == ["GPU-a", "GPU-b"]
    assert prepare_host("auto", 1, 2).gpus == ("GPU-b",)
    assert visible_gpus() == ["GPU-b"]


@pytest.mark.parametrize(
    ("workers", "preallocate", "fraction"),
    [(2, None, None), (3, None, "0.375"), (3, "false", None)],
)
def test_workers_on_one_gpu_share_its_memory(monkeypatch, workers, preallocate, fraction):
    names = ("XLA_PYTHON_CLIENT_MEM_FRACTION", "XLA_PYTHON_CLIENT_PREALLOCATE")
    for name in names:
        monkeypatch.setenv(name, "")  # so that it is as before in the end, even if it is not there
        monkeypatch.delenv(name)
    if preallocate is not None:
        monkeypatch.setenv(names[1], preallocate)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    monkeypatch.setattr(host, "jax_platform", lambda: "gpu")
    monkeypatch.setattr(host, "_tune_malloc", lambda: True)
    assert prepare_host("auto", 0, workers).gpus == ("0",)
    assert os.environ.get(names[0]) == fraction


@pytest.mark.parametrize(("named", "least"), [(None, 0.0), ("1.5", 1.5)])
def test_a_compilation_cache_keeps_small_programs_unless_told_otherwise(monkeypatch, named, least):
    name = "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"
    before = jax.config.jax_persistent_cache_min_compile_time_secs
    jax.config.update(name.lower(), 1.5)
    monkeypatch.delenv(name, raising=False)
    if named is not None:
        monkeypatch.setenv(name, named)
    monkeypatch.setattr(host, "jax_platform", lambda: "gpu")  # so nothing else is changed here
    try:
        prepare_host("none", 0, 1)
        assert jax.config.jax_persistent_cache_min_compile_time_secs == least
    finally:
        jax.config.update(name.lower(), before)
