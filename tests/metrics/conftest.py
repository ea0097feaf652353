import pytest

from layup_jax.config import RunConfig
from layup_jax.metrics import RunFolder


@pytest.fixture
def folder(tmp_path) -> RunFolder:
    """An empty, marked run folder."""
    folder = RunFolder.create(tmp_path, "demo")
    folder.write_config(RunConfig(name="demo"))
    return folder
