"""How a worker finds its place on a machine, its cores and its platform."""

import pytest

from layup_jax.host import Place, jax_platform, local_place, share_of_cores


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
