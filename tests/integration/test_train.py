"""`layup train` under a real mpirun: what it writes, for every algorithm and number of workers."""

import pytest

from tests.integration.conftest import read_lines, read_summary

pytestmark = pytest.mark.mpi

ALGORITHMS = {
    "pairwise over mpi4jax": ("digits_layup", ()),
    "pairwise over host": ("digits_layup", ("--config.transport.data_plane=host",)),
    "push_sum": ("digits:push_sum", ()),
    "a2cid2 in vain": ("digits:a2cid2", ("--config.strategy.topology=complete",)),
    "ddp over mpi4jax": ("digits:ddp", ("--config.transport.data_plane=mpi4jax",)),
    "ddp over host": ("digits:ddp", ("--config.transport.data_plane=host",)),
    "osgp": ("digits:osgp", ()),
    "pd_asgd, averager": ("digits:lap_sgd", ("--config.pipeline=decoupled",)),
    "lpp_sgd": ("digits:lpp_sgd", ("--config.threads.partial_from=2",)),
    "local": ("digits:local", ()),
    "fused": ("digits:fused", ()),
}


_SLOW = ("osgp", "lpp_sgd", "fused")  # the same folder; in one process they are trained in any case


@pytest.mark.parametrize(
    "algorithm",
    [pytest.param(name, marks=[pytest.mark.slow] * (name in _SLOW)) for name in ALGORITHMS],
)
def test_writes_a_complete_run_folder(start, tmp_path, algorithm):
    config, options = ALGORITHMS[algorithm]
    result = start("--workers=2", "--config.name=run", *options, config=config).finish()

    assert result.status == 0, result.errors
    folder = tmp_path / "run"
    summary = read_summary(folder)
    assert summary["status"] == "finished"
    assert summary["steps_total"] == 24
    assert summary["samples_total"] == 24 * 32
    assert summary["push_sum_weight_error"] <= 1e-5
    assert (summary["messages_sent"] > 0) == (algorithm not in ("local", "fused"))
    assert summary["segments"] == (1 if algorithm == "fused" else 3)
    if algorithm == "lpp_sgd":
        assert summary["mfu"] is None
    else:
        assert 0 < summary["mfu"] < 1
    split = summary["time_split"]
    assert min(split.values()) >= 0
    assert split["forward"] + split["turn"] > 0
    assert split["update"] > 0
    assert len(summary["test_accuracy_per_worker"]) == 2
    assert (folder / "figure.png").stat().st_size > 10_000
    for rank in range(2):
        kinds = [line["kind"] for line in read_lines(folder, rank)]
        assert kinds.count("step") == 4
        assert kinds.count("evaluation") >= 2
    assert "test accuracy" in result.output
    _, *warnings = result.output.partition("step ")[0].split("warning: ")
    assert result.output.count("warning: ") == len(warnings) == ("in vain" in algorithm)
    if warnings:
        assert warnings[0].startswith("a2cid2 gains nothing on the complete graph")


@pytest.mark.parametrize(
    ("config", "workers"),
    [
        ("digits_layup", 1),
        pytest.param("digits_layup", 3, marks=pytest.mark.slow),
        pytest.param("digits_layup", 8, marks=pytest.mark.slow),
        ("digits:push_sum", 4),
        pytest.param("digits:push_sum", 8, marks=pytest.mark.slow),
        ("digits:ddp", 4),
        ("digits:pd_asgd", 1),
    ],
)
def test_any_number_of_workers(start, tmp_path, workers, config):
    result = start(
        f"--workers={workers}", "--config.name=run", "--config.batch_size=16", config=config
    ).finish()

    assert result.status == 0, result.errors
    summary = read_summary(tmp_path / "run")
    assert summary["workers"] == workers
    assert summary["steps_total"] == 12 * workers
    assert summary["push_sum_weight_error"] <= 1e-5


def test_runs_below_a_users_own_mpirun(start, tmp_path):
    result = start("--config.name=own", ranks=2).finish()

    assert result.status == 0, result.errors
    assert read_summary(tmp_path / "own")["workers"] == 2


@pytest.mark.parametrize(("plane", "end"), [("host", "seconds=1.0"), ("mpi4jax", "samples=1600")])
def test_synchronous_workers_need_not_stop_at_the_same_step(start, tmp_path, plane, end):
    """Their clocks and counts differ, and nobody hangs in a sum that not all have started."""
    result = start(
        "--workers=3",
        "--config.name=apart",
        "--config.stop.steps=100000",
        f"--config.stop.{end}",
        f"--config.transport.data_plane={plane}",
        "--config.evaluation.every_steps=0",
        config="digits:ddp",
    ).finish()

    assert result.status == 0, result.errors
    summary = read_summary(tmp_path / "apart")
    assert summary["status"] == "finished"
    assert summary["steps_total"] > 3
    assert summary["consensus_distance"] < 1e-5


def test_stops_by_seconds_with_a_slow_worker(start, tmp_path):
    result = start(
        "--workers=2",
        "--config.name=slow",
        "--config.stop.steps=100000",
        "--config.stop.seconds=2.0",
        "--config.evaluation.every_steps=20",
        "--config.delay.ranks=(1,)",
        "--config.delay.seconds=0.4",
    ).finish()

    assert result.status == 0, result.errors
    summary = read_summary(tmp_path / "slow")
    steps = [read_lines(tmp_path / "slow", rank)[-1]["step"] for rank in range(2)]
    assert summary["status"] == "finished"
    assert steps[0] > 2 * steps[1]
