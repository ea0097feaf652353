"""The theory of staleness, at numbers worked out by hand."""

import pytest

from layup_jax.staleness import (
    bias_bound,
    layer_wise_delay,
    measured_delay,
    predicted_delay,
    whole_model_delay,
)


def test_layers_wait_for_those_before_them():
    """Five layers of 2 s forward, 6 s backward: they start after 0, 6, 12, 18 and 24 s."""
    assert layer_wise_delay(3.0, 2.0, 5) == pytest.approx((0 + 6 + 12 + 18 + 24) / 5)
    assert whole_model_delay(3.0, 2.0, 5) == pytest.approx(30)


def test_a_prediction_from_pass_times_is_of_the_kind_that_the_segments_are():
    assert predicted_delay(10.0, 30.0, 5) == pytest.approx(12)
    assert predicted_delay(10.0, 30.0, 1) == pytest.approx(30)


def test_what_is_measured_is_what_is_predicted():
    started = tuple(6.0 * k for k in reversed(range(5)))
    updated = tuple(6.0 * (k + 1) for k in reversed(range(5)))
    assert measured_delay(started, updated) == pytest.approx(predicted_delay(10.0, 30.0, 5))
    assert measured_delay((0.0,), (30.0,)) == pytest.approx(predicted_delay(10.0, 30.0, 1))


def test_the_bound_on_the_bias():
    assert bias_bound(2.0, 5.0, 0.01, 4.0) == pytest.approx(2 * 0.2 / 0.8)
    assert bias_bound(2.0, 5.0, 0.01, 0.0) == 0
    assert bias_bound(2.0, 5.0, 0.05, 4.0) is None
