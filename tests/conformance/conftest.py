import pytest

pytest.register_assert_rewrite("transport_suite")
