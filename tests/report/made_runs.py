"""Run folders of runs that never took place, as different as a test wants them."""

from layup_jax.config import to_dict, validated
from layup_jax.metrics import RunFolder
from tests.metrics.synthetic import summary, write_run

HISTOGRAM = ((900, 90, 10), (1000, 0, 0))


def made_run(parent, name, *, config=None, ended=True, **summary_changes):
    """Writes a run and returns its folder's path; `config` is of nested keys."""
    folder = RunFolder.create(parent, name)
    write_run(folder, steps=60, killed_at=60)
    defaults = merged(to_dict(folder.read_config()), {"evaluation": {"target": 0.97}})
    folder.write_config(validated(merged(defaults, config or {})))
    if ended:
        folder.write_summary(summary(staleness_histogram=HISTOGRAM, **summary_changes))
    return folder.path


def merged(values, changes):
    return values | {
        key: merged(values[key], each) if isinstance(each, dict) and key in values else each
        for key, each in changes.items()
    }
