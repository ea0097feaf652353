"""The small convolutional network: options that make no network are refused."""

import pytest

from layup_jax.errors import ConfigError
from layup_jax.models import conv


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (
            {"channels": (8, 0)},
            "channels of a convolutional network must be at least 1, got 0; raise",
        ),
        ({"channels": ()}, "channels of a convolutional network must be at least 1, got 0; raise"),
        ({"dropout": 2.0}, r"the dropout of a model must be in \[0, 1\), got 2.0; change it"),
    ],
)
def test_impossible_options_are_refused(options, sentence):
    with pytest.raises(ConfigError, match=sentence):
        conv((8, 8, 1), 10, **options)
