import struct

import numpy as np
import pytest

from layup_jax.config import DelayConfig, EmulationConfig, RunConfig
from layup_jax.metrics import MetricsRecorder, draw_figure
from layup_jax.metrics.figure import DOTS_PER_INCH, SIZE_INCHES
from layup_jax.metrics.series import ended_early, read_series, smoothed
from tests.metrics.synthetic import evaluation_record, step_record, summary, write_run


def check_picture(path, least_colours=4):
    from matplotlib.image import imread

    width, height = struct.unpack(">II", path.read_bytes()[16:24])
    assert (width, height) == tuple(round(each * DOTS_PER_INCH) for each in SIZE_INCHES)
    pixels = imread(path)
    assert pixels.shape[:2] == (height, width)
    assert len(np.unique(pixels @ np.array([1.0, 300.0, 90_000.0, 0.0]))) > least_colours


def test_four_workers_of_which_one_was_killed(folder):
    write_run(folder)
    folder.write_summary(summary())
    assert draw_figure(folder) == folder.figure
    check_picture(folder.figure, least_colours=100)
    series = read_series(folder)
    assert [ended_early(each, series) for each in series] == [False, False, False, True]


def test_workers_too_many_to_name(folder):
    write_run(folder, workers=9, steps=40)
    check_picture(draw_figure(folder))


@pytest.mark.parametrize(
    "lines",
    [
        (),
        (evaluation_record(),),
        (step_record(),),
        (step_record(loss=0.0), step_record(loss=float("nan"), step=20)),
        (step_record(loss=float("inf")),),
    ],
)
def test_a_run_with_hardly_any_metrics(folder, lines):
    with MetricsRecorder(folder.metrics(0)) as recorder:
        for line in lines:
            recorder.write(line)
    check_picture(draw_figure(folder))


def test_a_failed_run_without_metrics(folder):
    folder.write_config(RunConfig())
    folder.write_summary(summary(status="failed", failure="no", time_to_target_seconds=None))
    check_picture(draw_figure(folder))


@pytest.mark.parametrize(
    ("config", "words"),
    [
        (RunConfig(), " workers: "),
        (RunConfig(emulation=EmulationConfig(backward_seconds=0.01)), ", emulated accelerator: "),
        (RunConfig(delay=DelayConfig(ranks=(0,), slowdown=2.0)), ", artificial delays: "),
    ],
)
def test_the_title_says_what_was_artificial(folder, monkeypatch, config, words):
    from matplotlib.figure import Figure

    titles = []
    monkeypatch.setattr(Figure, "suptitle", lambda self, text, **_: titles.append(text))
    folder.write_config(config)
    draw_figure(folder)
    (title,) = titles
    assert words in title


def test_a_straggler_and_a_fast_worker_have_not_ended_early(folder):
    with MetricsRecorder(folder.metrics(0)) as fast, MetricsRecorder(folder.metrics(1)) as slow:
        fast.write(step_record(0, 300, train_seconds=2.0))
        slow.write(step_record(1, 100, train_seconds=9.0))
    series = read_series(folder)
    assert not any(ended_early(each, series) for each in series)


def test_smoothing_keeps_the_mean_of_a_line_and_leaves_out_what_is_not_finite():
    values = np.arange(100.0)
    np.testing.assert_allclose(smoothed(values)[10:-10], values[10:-10], rtol=1e-12)
    values[50] = np.nan
    assert np.isfinite(smoothed(values)).all()
    assert np.isnan(smoothed(np.array([np.inf, 1.0]))).tolist() == [True, False]
    assert smoothed(np.empty(0)).shape == (0,)
