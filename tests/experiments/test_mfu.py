"""mfu: its arithmetic on made-up timings, its tables and picture, with and without hardware it knows."""

import pytest

from experiments.harness import ExperimentError
from experiments.mfu.__main__ import METHODS, Used, used
from experiments.mfu.plot import PICTURES, table
from experiments.report import over_seeds, publish, write_results
from layup_jax.metrics import TIME_CAUSES
from tests.metrics.synthetic import summary
from tests.metrics.test_figure import check_picture

PARTS = ("layer", "model")
SPLIT = {cause: 0.001 * (index + 1) for index, cause in enumerate(TIME_CAUSES)}


def _case(mfu):
    row = {"samples_per_second": 9000.0, "over_interleaved": 1.5, "mfu": mfu}
    names = [f"{each} {part}" for each in ("interleaved", "1:1", "1:2", "1:3") for part in PARTS]
    return {
        "passes_alone": {"forward_seconds": 0.004, "backward_seconds": 0.01},
        "beta_alone": 2.5,
        "backward_over_forward": None if mfu is None else 1.6,
        "compute_dtype": "bfloat16",
        "batch_size": 128,
        "step_flops": None if mfu is None else 3.9e8,
        "schedules": dict.fromkeys(names, row),
    }


@pytest.fixture(params=[0.25, None])
def results(request, environment):
    runs = [used(summary(mfu=request.param, time_split=SPLIT)) for _ in range(2)]
    return {
        "cases": {"conv": _case(request.param), "mlp": _case(request.param)},
        "methods": {name: over_seeds(runs) for name in METHODS},
        "environment": environment,
    }


def test_a_summary_is_taken_apart():
    found = used(summary(mfu=0.1, time_split=SPLIT))
    assert found == Used(0.1, 17_904.5, 0.001, 0.002, 0.003, 0.004, 0.005, 0.006, 0.007)
    with pytest.raises(ExperimentError, match="--methods none"):
        used(summary())


def test_tables(results):
    text = table(results)
    known = results["cases"]["conv"]["step_flops"] is not None
    beside, flops, mfu = ("1.60", "0.39", "25.0%") if known else ["not known"] * 3
    assert f"| conv, bfloat16, batch 128 | 4.00 | 10.00 | 2.50 | {beside} | {flops} |" in text
    assert f"| mlp, whole model | 1:2 | 9,000 | 1.50 | {mfu} |" in text
    spread = "25.00% ± 0.00%" if known else "not known"
    assert f"| ddp | {spread} | 17,904 ± 0 | 1.00 | 2.00 | 3.00 | 4.00 | 5.00 | 6.00 |" in text
    assert "method" not in table({**results, "methods": {}})


def test_pictures_need_nothing_but_results(results, tmp_path):
    write_results(tmp_path, results)
    publish(PICTURES, tmp_path)
    check_picture(tmp_path / "figure.png", least_colours=20)
