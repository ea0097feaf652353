"""What all tests share: strict jax, short hypothesis runs, counted compilations, no thread left over."""

import os
import threading
from contextlib import contextmanager

import hypothesis
import jax
import pytest

jax.config.update("jax_numpy_rank_promotion", "raise")
# Tests, and the processes that they start, compile more than they compute.
jax.config.update("jax_disable_most_optimizations", True)
_QUICK = "--xla_cpu_use_fusion_emitters=false"
if _QUICK not in os.environ.get("XLA_FLAGS", ""):  # a process of xdist has its parent's
    os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {_QUICK}".strip()
hypothesis.settings.register_profile("layup", deadline=None, max_examples=50, derandomize=True)
hypothesis.settings.load_profile("layup")

_COMPILED = "/jax/core/compile/backend_compile_duration"
_compiled: list[str] = []


def _listen(event, duration, *, fun_name="", **_):
    del duration
    if event == _COMPILED:
        _compiled.append(fun_name)


jax.monitoring.register_event_duration_secs_listener(_listen)


@pytest.fixture(scope="session", autouse=True)
def _shared_compilations(tmp_path_factory):
    """What one test has compiled the others load; it counts as a compilation all the same."""
    jax.config.update("jax_compilation_cache_dir", str(tmp_path_factory.mktemp("compiled")))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)


@pytest.fixture
def compilations():
    """A context manager whose value is, at its end, the names of the functions compiled inside."""

    @contextmanager
    def count():
        names, before = [], len(_compiled)
        yield names
        names.extend(_compiled[before:])

    return count


@pytest.fixture
def double():
    """64-bit arrays, in every thread, for the duration of one test."""
    jax.config.update("jax_enable_x64", True)
    yield
    jax.config.update("jax_enable_x64", False)


@pytest.fixture(autouse=True)
def _no_thread_left():
    """Fails a test that leaves one of the package's threads running."""
    yield
    left = [each.name for each in threading.enumerate() if each.name.startswith("layup-")]
    assert not left, f"threads left running: {left}"
