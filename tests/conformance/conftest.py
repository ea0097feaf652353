import pytest

pytest.register_assert_rewrite("layup_jax.testing")
