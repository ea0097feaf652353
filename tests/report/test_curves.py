import numpy as np

from layup_jax.metrics import RunFolder
from layup_jax.report import read_runs
from layup_jax.report.curves import Curve, accuracy_by_samples, accuracy_by_seconds, make_band
from tests.metrics.synthetic import evaluation_record, step_record
from tests.report.made_runs import made_run


def curve(x, y):
    return Curve(np.array(x, float), np.array(y, float))


def test_a_band_is_mean_and_range_of_straight_lines():
    band = make_band([[curve([0, 2], [0, 2]), curve([0, 1, 2], [4, 3, 2])], [curve([0], [5])]])
    np.testing.assert_array_equal(band.x, [0, 1, 2])
    np.testing.assert_allclose(band.mean, [3, 3, 3], rtol=1e-12)
    np.testing.assert_array_equal(band.low, [0, 1, 2])
    np.testing.assert_array_equal(band.high, [5, 5, 5])


def test_a_straggler_counts_from_its_first_point_on():
    band = make_band([[*[curve([1, 2], [1, 1])] * 3, curve([4, 8], [5, 5])]])
    np.testing.assert_array_equal(band.x, [1, 2, 4, 8])
    np.testing.assert_allclose(band.mean, [1, 1, 2, 2], rtol=1e-12)


def test_two_workers_of_which_one_is_a_straggler():
    band = make_band([[curve([1, 2], [1, 1]), curve([10, 20], [3, 3])]])
    np.testing.assert_array_equal(band.x, [1, 2, 10, 20])
    np.testing.assert_array_equal(band.mean, [1, 1, 2, 2])


def test_the_fastest_do_not_stand_for_all():
    band = make_band([[curve([1, 4], [0, 0]), *[curve([2, 4], [1, 1])] * 3]])
    np.testing.assert_array_equal(band.x, [2, 4])


def test_a_slow_run_is_no_straggler():
    band = make_band([[curve([1, 2], [1, 1])], [curve([10, 20], [3, 3])], []])
    np.testing.assert_array_equal(band.x, [10, 20])
    np.testing.assert_array_equal(band.mean, [2, 2])


def test_no_points_make_no_band_and_many_make_some_hundred():
    assert make_band([[curve([], [])], []]).x.size == 0
    band = make_band([[curve(np.arange(10_000), np.arange(10_000))]])
    assert 100 < band.x.size < 1000
    np.testing.assert_array_equal(band.x[[0, -1]], [0, 9999])


def test_samples_are_those_of_all_workers_by_then(tmp_path):
    from layup_jax.metrics import MetricsRecorder

    path = made_run(tmp_path, "run")
    folder = RunFolder.open(path)
    for rank, pace in enumerate((1.0, 2.0, 1.0, 1.0)):
        folder.metrics(rank).unlink()
        with MetricsRecorder(folder.metrics(rank)) as recorder:
            recorder.write(step_record(rank, 10, train_seconds=pace, samples=100))
            seconds = 0.5 if rank == 0 else 2.0
            record = evaluation_record(rank, 5, train_seconds=seconds, test_accuracy=0.25)
            recorder.write(record)
    (run,) = read_runs([path])
    # After half a second three workers are half way through, one a quarter.
    assert [each.x.tolist() for each in accuracy_by_samples(run)] == [[175.0], *[[400.0]] * 3]
    assert [each.x.tolist() for each in accuracy_by_seconds(run)] == [[0.5], *[[2.0]] * 3]
    assert accuracy_by_seconds(run)[0].y.tolist() == [25.0]


def test_losses_that_are_not_finite_are_left_out(tmp_path):
    from layup_jax.metrics import MetricsRecorder
    from layup_jax.report.curves import loss_by_samples

    path = made_run(tmp_path, "run")
    with MetricsRecorder(RunFolder.open(path).metrics(4)) as recorder:
        recorder.write(step_record(4, 10, loss=float("nan")))
        recorder.write(step_record(4, 20, loss=2.0))
    (run,) = read_runs([path])
    assert loss_by_samples(run)[4].y.tolist() == [2.0]
